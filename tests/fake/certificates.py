"""A certificate authority for one run and one certificate that covers every name and address the fakes answer to.

Made by the openssl command into a folder of the caller's. The keys are throwaway: valid for two days, in no trust store.
"""

import subprocess
from pathlib import Path

NAMES = [  # so that a client can be told to connect to these names at our ports (curl --connect-to, --resolve)
    "localhost", "*.localhost", "*.s3.localhost", "civitai.com", "*.civitai.com", "civitai.red", "*.civitai.red",
    "civitai.green", "*.r2.cloudflarestorage.com", "*.backblazeb2.com", "huggingface.co", "*.huggingface.co", "hf.co",
    "*.hf.co", "*.xethub.hf.co", "*.amazonaws.com", "*.s3.amazonaws.com", "*.s3.us-east-1.amazonaws.com", "*.runpod.io",
    "*.example", "elsewhere.example", "civitai.com.evil.example",
]
ADDRESSES = ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.6", "::1"]
DAYS = "2"
EXTENSIONS = ("basicConstraints=critical,CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=serverAuth\n"
              "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n")
OPENSSL_SECONDS = 60


def _openssl(*arguments):
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, timeout=OPENSSL_SECONDS, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {arguments[0]}: {done.stderr.strip()[-400:]}")


def make(folder):
    """(CA's certificate, server's certificate, server's key) as paths."""
    folder = Path(folder)
    ca, ca_key, request = folder / "ca.pem", folder / "ca.key", folder / "server.csr"
    leaf, key, extra = folder / "server.pem", folder / "server.key", folder / "server.ext"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    _openssl("req", "-x509", *curve, "-keyout", str(ca_key), "-out", str(ca), "-days", DAYS, "-subj", "/CN=tintype test CA",
             "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    _openssl("req", *curve, "-keyout", str(key), "-out", str(request), "-subj", "/CN=tintype fakes")
    names = [f"DNS:{name}" for name in NAMES] + [f"IP:{address}" for address in ADDRESSES]
    extra.write_text(EXTENSIONS + f"subjectAltName={','.join(names)}\n")
    _openssl("x509", "-req", "-in", str(request), "-CA", str(ca), "-CAkey", str(ca_key), "-CAcreateserial", "-days", DAYS,
             "-extfile", str(extra), "-out", str(leaf))
    return ca, leaf, key
