"""The playground in a headless Chromium, against the real server and against a stand-in that has faults.

    cases.py TINTYPE PAGE SCREENSHOT

Prints one line per case in cmocka's form; the status is 1 when one failed. Each case leaves the page without a running job.
"""

import base64
import json
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from browser import Browser
from server import Server
from stub import Stub

IDLE = "form.isBuilt && openJobs().length === 0"
PROMPT, STEPS, WIDTH, HEIGHT, SEED = ("#f-" + name for name in ("prompt", "steps", "width", "height", "seed"))


def ask_for(page, **settings):
    """Types the settings over a blank form and sends it from the keyboard."""
    page.click("#reset")
    for name, value in settings.items():
        page.type("#f-" + name, str(value))
    page.press("Enter", ctrl=True)


# ---- against the stand-in: form, faults, other workers --------------------------------------------------------------


def the_form_follows_the_schema(page, stub):
    names = page.eval("form.fields.map((f) => f.name)")
    properties = stub.schema["properties"]["input"]["properties"]
    given = {n for n, s in properties.items() if "$ref" not in s}
    fixed = {n for n, s in properties.items() if s.get("maxItems") == 0 or s.get("type") == "null" or
             ("minimum" in s and s["minimum"] == s.get("maximum"))}
    assert set(names) == given - fixed, f"fields {names}"
    assert page.eval(f"document.querySelector('{PROMPT}').tagName") == "TEXTAREA"
    assert page.eval("fieldOf('num_inference_steps').name") == "steps", "another name is understood"
    assert page.eval("document.querySelector('#f-format').options.length") > 2
    assert page.eval("document.querySelectorAll('#ideas button').length") == 5
    assert page.eval("document.querySelectorAll('[style]:not(textarea, .plate, .chip i)').length") == 0


def faults_are_shown_at_their_field(page, _):
    ask_for(page, width=100, steps=0)
    for name in ("prompt", "width", "steps"):
        page.wait(f"document.querySelector('#f-{name}').ariaInvalid === 'true' && $('p-{name}').textContent")
    assert page.eval("jobs.length") == 0, "nothing was sent"
    assert page.eval("document.activeElement.id") == "f-prompt"
    ask_for(page, prompt="x", seed=18446744073709551615, steps=1)
    page.wait("pictures.length === 1 && openJobs().length === 0")
    assert page.eval("String(pictures[0].seed)") == "18446744073709551615", "a seed of 64 bits is exact"


def a_failed_job_says_why(page, _):
    ask_for(page, prompt="fail", steps=2)
    page.wait("!!document.querySelector('.card.failed')")
    assert "the lamp burnt out" in page.text(".card.failed")
    assert "from 1 to 5" in page.text("#p-steps"), "and at the field"
    page.eval("document.querySelector('.card.failed .actions').lastChild.click()")
    page.wait("!document.querySelector('.card.failed')")


def a_dropped_stream_is_resumed(page, stub):
    before = page.eval("pictures.length")
    ask_for(page, prompt="drop", steps=4)
    page.wait(f"pictures.length === {before + 1} && {IDLE}")
    numbers = [int(n) for n in stub.resumes]
    assert numbers and numbers == sorted(set(numbers)), f"resumed after {numbers}"


def waiting_jobs_are_cards_in_line(page, _):
    for n in range(4):
        ask_for(page, prompt=f"slow {n}", steps=3)
        page.wait(f"openJobs().length === {n + 1}")
    page.wait("document.querySelectorAll('#stage .card').length === 4 && document.querySelectorAll('.card.big').length === 1")
    page.wait("$('stage').textContent.includes('3 of yours ahead')")
    assert page.eval("jobs.filter((j) => j.abort).length") <= 2, "a browser has few connections"
    page.wait("document.title.includes('%')")
    for left in (3, 2, 1, 0):
        page.press("Escape")
        page.wait(f"openJobs().length === {left}")


def a_hidden_tab_holds_no_connection(page, _):
    before = page.eval("pictures.length")
    page.eval("Object.defineProperty(document, 'hidden', {get: () => window.isAway, configurable: true})")
    page.eval("window.turn = (isAway) => { window.isAway = isAway; document.dispatchEvent(new Event('visibilitychange')); }")
    ask_for(page, prompt="slow", steps=4)
    page.wait("jobs[0]?.progress?.step >= 1")
    page.eval("turn(true)")
    page.wait("jobs[0].abort === null")
    page.wait(f"pictures.length === {before + 1} && {IDLE}")  # seen by asking /status
    page.eval("turn(false)")


def other_outputs_are_text_never_markup(page, _):
    page.type("#f-input", '{"name": "<i>World</i>"}')
    page.click("#go")
    page.wait("pictures.length === 1 && openJobs().length === 0")
    shown = page.text(".card.big pre")
    assert "<b>Hello</b>, <img src=x onerror=alert(1)>" in shown, shown
    assert page.eval("document.querySelectorAll('#room b:not(.line b), #room i').length") == 0
    page.click(".card.big .plate")
    page.wait("$('viewer').open && $('large').innerText.includes('onerror')")
    page.press("Escape")
    page.wait("!$('viewer').open")


def a_key_is_asked_for_and_kept_only_if_wanted(page, stub):
    page.wait("$('key-dialog').open")
    page.type("#key", stub.key)
    page.click("#key-use")
    page.wait("form.isBuilt")
    assert page.eval("JSON.stringify({...sessionStorage, ...localStorage}).includes('hush')") is False
    ask_for(page, prompt="x", steps=1)
    page.wait("pictures.length === 1")
    assert "hush" not in page.eval("curlOf(pictures[0])"), "a copied command does not tell the key"
    page.click("#key-open")
    page.click("#key-keep")
    page.click("#key-use")
    page.reload()
    page.wait("form.isBuilt && apiKey === 'hush'")


# ---- against the real server ----------------------------------------------------------------------------------------


def a_picture_develops_and_stays(page, server):
    page.eval("""new MutationObserver(() => { window.previews = (window.previews || new Set()).add(
        document.querySelector('.plate img')?.src) }).observe($('stage'), {subtree: true, attributes: true, attributeFilter: ['src']})""")
    ask_for(page, prompt="a lighthouse on the sea at sunset", width=256, height=256, seed=5)
    page.wait("jobs[0] && jobs[0].progress && jobs[0].progress.stage === 'denoise'")
    page.wait(f"pictures.length === 1 && {IDLE}")
    assert page.eval("[...previews].filter((p) => p?.startsWith('data:image/jpeg')).length") >= 2, "previews came"
    assert page.eval("[pictures[0].width, pictures[0].height, pictures[0].seed, pictures[0].blob.type]") == [256, 256, 5, "image/png"]
    page.wait("document.querySelector('.card.big img').naturalWidth === 256")


def escape_cancels_the_running_job(page, server):
    ask_for(page, prompt="x", steps=1000, width=64, height=64)
    page.wait("jobs[0].progress && jobs[0].progress.step > 1")
    page.press("Escape")
    page.wait("openJobs().length === 0 && jobs.length === 0")
    page.wait("$('toast').textContent === 'Cancelled'")
    page.wait("$('state').dataset.state === 'ready'")


def a_reload_finds_everything_again(page, server):
    ask_for(page, prompt="a black cat on a pink background", steps=150, width=64, height=64, negative_prompt="rain")
    page.wait("jobs[0].progress")
    page.reload()
    page.wait("form.isBuilt")
    assert page.eval("pictures.some((p) => p.seed === 5)"), "the gallery"
    assert page.eval(f"document.querySelector('{PROMPT}').value") == "a black cat on a pink background"
    assert page.eval("document.querySelector('#f-negative_prompt').value") == "rain"
    page.wait(f"pictures.length === 2 && {IDLE}", 60)  # the job that was running


def the_server_names_what_is_wrong(page, server):
    page.click("#reset")
    page.type("#f-prompt", "x")
    page.type("#f-sampler", "magic")
    page.press("Enter", ctrl=True)
    page.wait("!!document.querySelector('.card.failed')")
    page.wait("$('p-sampler').textContent.includes('magic')")
    page.click(".card.failed .actions button:last-child")
    page.wait(f"jobs.length === 0 && {IDLE}")


def the_large_view_turns_pages_and_gives_settings_back(page, server):
    page.click(".card.big .plate")
    page.wait("$('viewer').open && $('place').textContent === '1 of 2'")
    page.press("ArrowRight")
    page.wait("$('place').textContent === '2 of 2' && $('caption').innerText.includes('lighthouse')")
    page.eval("[...$('caption').querySelectorAll('button')].find((b) => b.textContent === 'Use settings').click()")
    page.wait("!$('viewer').open")
    assert page.eval(f"document.querySelector('{PROMPT}').value") == "a lighthouse on the sea at sunset"
    assert page.eval(f"document.querySelector('{SEED}').value") == "5"
    page.click("#tiles .tile:last-child")
    page.eval("[...$('caption').querySelectorAll('button')].find((b) => b.textContent === 'Delete').click()")
    page.wait("pictures.length === 1")
    page.click("#toast button")
    page.wait("pictures.length === 2")
    page.press("Escape")


def the_copied_command_makes_the_same_picture(page, server):
    page.eval("window.bytes = async (p) => btoa(String.fromCharCode(...new Uint8Array(await p.blob.arrayBuffer())))")
    kept = page.eval("bytes(pictures.find((p) => p.seed === 5))")
    command = page.eval("curlOf(pictures.find((p) => p.seed === 5))")
    answer = subprocess.run(["bash", "-c", command], capture_output=True, check=True, timeout=60).stdout
    assert base64.b64decode(json.loads(answer)["output"]["image"]) == base64.b64decode(kept)


def a_phone_has_no_sideways_scroll(page, server):
    page.look(390, 844, mobile=True)
    assert page.eval("document.documentElement.scrollWidth <= innerWidth")
    page.look(1280, 900)


def the_pages_are_quiet_and_ask_nobody_else(_, pages):
    """All but the one with the key: a refused request is a line in the console, by the browser itself."""
    for page in pages:
        assert not page.console, f"the console says: {page.console}"
        foreign = [u for u in page.requests if not u.startswith((page.url, "data:", "blob:"))]
        assert not foreign, f"requests to {foreign}"


# ---- running them ---------------------------------------------------------------------------------------------------

n_failed = 0


def check(case, page, other):
    global n_failed
    start = time.monotonic()
    try:
        case(page, other)
        verdict = "[       OK ]"
    except Exception:  # pylint: disable=broad-except  # a case may fail in any way; the others still run
        verdict = "[  FAILED  ]"
        n_failed += 1
        traceback.print_exc(file=sys.stdout)
        print(f"    console: {page.console}")
    print(f"{verdict} {case.__name__}", flush=True)
    print(f"    {time.monotonic() - start:.1f} s")


def against_stub(browser, html, schema, key, cases):
    stub = Stub(html, schema, key)
    page = browser.open(stub.start())
    if not key:
        page.wait("form.isBuilt")
    for case in cases:
        check(case, page, stub)
    stub.stop()
    return page


FORM_CASES = (the_form_follows_the_schema, faults_are_shown_at_their_field, a_failed_job_says_why, a_dropped_stream_is_resumed,
              waiting_jobs_are_cards_in_line, a_hidden_tab_holds_no_connection)
SERVER_CASES = (a_picture_develops_and_stays, escape_cancels_the_running_job, a_reload_finds_everything_again,
                the_server_names_what_is_wrong, the_large_view_turns_pages_and_gives_settings_back,
                the_copied_command_makes_the_same_picture, a_phone_has_no_sideways_scroll)


def main():
    program, html_path, screenshot = sys.argv[1:]
    html = Path(html_path).read_text(encoding="utf-8")
    schema = json.loads(subprocess.run([program, "schema"], capture_output=True, check=True).stdout)
    with Browser() as browser:
        pages = [against_stub(browser, html, schema, None, FORM_CASES),
                 against_stub(browser, html, None, None, [other_outputs_are_text_never_markup])]
        against_stub(browser, html, schema, "hush", [a_key_is_asked_for_and_kept_only_if_wanted])
        with tempfile.TemporaryDirectory() as folder, Server(program, folder) as server:
            page = browser.open(server.url)
            page.wait("form.isBuilt")
            for case in SERVER_CASES:
                check(case, page, server)
            page.screenshot(screenshot)
            check(the_pages_are_quiet_and_ask_nobody_else, page, [*pages, page])
    return 1 if n_failed else 0


if __name__ == "__main__":
    sys.exit(main())
