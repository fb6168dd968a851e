#!/usr/bin/env python3
"""Prints a token for the example: token.py USER [ROLE...]. The secret is taken from TIDEGATE_OPTIONS_SECRET.

Stands in for whoever issues tokens where you are. It is valid for ten minutes.
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import time


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def main():
    if len(sys.argv) < 2 or "TIDEGATE_OPTIONS_SECRET" not in os.environ:
        print("usage: TIDEGATE_OPTIONS_SECRET=… token.py USER [ROLE...]", file=sys.stderr)
        return 2
    secret = os.environ["TIDEGATE_OPTIONS_SECRET"].encode()
    claims = {"sub": sys.argv[1], "roles": sys.argv[2:], "iss": "example", "aud": "agents"}
    claims["exp"] = int(time.time()) + 600
    parts = [encode(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    signed = b".".join(parts)
    print((signed + b"." + encode(hmac.new(secret, signed, hashlib.sha256).digest())).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
