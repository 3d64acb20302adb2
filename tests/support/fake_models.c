#include "support/fake_models.h"

#include <json-c/json.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/json_tree.h"

enum { START_TRIES = 1200, NAP_US = 50 * 1000, ANSWER_BYTES = 1 << 20 };

static struct {
    pid_t pid;
    int keeps_alive; /* the write end of its standard input: it ends with us */
    char folder[32], ready[96];
    json_object *about;
    char answer[ANSWER_BYTES];
} fake;

static void run_program(int input) {
    dup2(input, STDIN_FILENO);
    execlp("python3", "python3", TT_SOURCE_DIR "/tests/fake/models.py", "--dir", fake.folder,
           "--ready-file", fake.ready, "--until-stdin-ends", (char *)NULL);
    _exit(127);
}

int fake_models_start(void **state) {
    int ends[2];
    (void)state;
    snprintf(fake.folder, sizeof fake.folder, "/tmp/fake-models-XXXXXX");
    assert_non_null(mkdtemp(fake.folder));
    snprintf(fake.ready, sizeof fake.ready, "%s/ready.json", fake.folder);
    assert_int_equal(pipe(ends), 0);
    fake.pid = fork();
    assert_true(fake.pid >= 0);
    if (fake.pid == 0) {
        close(ends[1]);
        run_program(ends[0]);
    }
    close(ends[0]);
    fake.keeps_alive = ends[1];
    for (int i = 0; i < START_TRIES && !fake.about; i++) {
        usleep(NAP_US);
        if (access(fake.ready, R_OK) == 0) fake.about = json_object_from_file(fake.ready);
    }
    assert_non_null(fake.about);
    return 0;
}

/* Without a shell; what it prints goes to `output` when that is not NULL. */
static void run(const char *output, char *const argv[]) {
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (output && !freopen(output, "w", stdout)) _exit(126);
        execvp(argv[0], argv);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int fake_models_stop(void **state) {
    (void)state;
    if (!fake.about) return 0;
    close(fake.keeps_alive);
    waitpid(fake.pid, NULL, 0);
    json_object_put(fake.about);
    fake.about = NULL;
    run(NULL, (char *[]){"rm", "-rf", fake.folder, NULL});
    return 0;
}

const char *fake_models_url(const char *host) {
    return json_object_get_string(member(member(member(fake.about, "hosts"), host), "https"));
}

const char *fake_models_ca(void) {
    return json_object_get_string(member(fake.about, "ca"));
}

const char *fake_models_token(const char *which) {
    return json_object_get_string(member(member(fake.about, "tokens"), which));
}

tt_source_services fake_models_services(void) {
    enum { FASTER = 100 };
    return (tt_source_services){
        .civitai_url = fake_models_url("civitai"),
        .hf_url = fake_models_url("huggingface"),
        .civitai_key = fake_models_token("civitai"),
        .hf_token = fake_models_token("huggingface"),
        .s3 = {.endpoint_url = fake_models_url("s3"),
               .access_key_id = fake_models_token("access"),
               .secret_access_key = fake_models_token("secret")},
        .ca_file = fake_models_ca(),
        .allow_private = true,
        .user_agent = "tintype/test (+https://example.org)",
        .time_divisor = FASTER,
    };
}

/* By curl: what is tested must not be what the tests stand on. */
const char *fake_models_control(const char *method, const char *path, const char *body) {
    char url[1024], data[160], asked[128], answered[128];
    snprintf(asked, sizeof asked, "%s/asked.json", fake.folder);
    snprintf(answered, sizeof answered, "%s/answered.json", fake.folder);
    snprintf(data, sizeof data, "@%s", asked);
    snprintf(url, sizeof url, "%s%s", json_object_get_string(member(fake.about, "control")), path);
    FILE *f = fopen(asked, "w");
    assert_non_null(f);
    fputs(body ? body : "", f);
    fclose(f);
    char verb[16];
    snprintf(verb, sizeof verb, "%s", method);
    run(answered, (char *[]){"curl", "-sS", "-X", verb, "--data-binary", data, url, NULL});
    f = fopen(answered, "r");
    assert_non_null(f);
    size_t n = fread(fake.answer, 1, sizeof fake.answer - 1, f);
    fake.answer[n] = '\0';
    fclose(f);
    return fake.answer;
}

void fake_models_reset(void) {
    (void)fake_models_control("DELETE", "/faults", NULL);
    (void)fake_models_control("DELETE", "/requests", NULL);
}

void fake_models_faults(const char *json) {
    (void)fake_models_control("DELETE", "/faults", NULL);
    const char *answer = fake_models_control("POST", "/faults", json);
    if (strstr(answer, "\"error\"")) fail_msg("%s", answer);
}

int fake_models_requests(const char *host) {
    char path[64];
    snprintf(path, sizeof path, "/requests?host=%s", host);
    json_object *list = json_tokener_parse(fake_models_control("GET", path, NULL));
    assert_true(json_object_is_type(list, json_type_array));
    int n = (int)json_object_array_length(list);
    json_object_put(list);
    return n;
}

void fake_models_check(void) {
    const char *leaks = fake_models_control("GET", "/leaks", NULL);
    if (strspn(leaks, "[] \n") != strlen(leaks)) fail_msg("leaked: %s", leaks);
    const char *problems = fake_models_control("GET", "/problems", NULL);
    if (strspn(problems, "[] \n") != strlen(problems)) fail_msg("the fakes broke: %s", problems);
}
