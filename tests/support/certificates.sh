#!/bin/sh
# certificates.sh FOLDER - a CA and certificates for tests of TLS: NAME.pem and NAME.key each.
#
#   ca          signs all that follow        rogue-ca   signs `rogue`
#   server      localhost, 127.0.0.1, ::1, api.example.test     rsa       the same, with an RSA key
#   other       other.example.test           wildcard   *.wild.test      exact   exact.wild.test
#   old         cn.example.test in its CN, no SANs
#   expired     over for a day or more         renewed    as server, with a new key
#   client      CN=ada with all kinds of SANs           rogue     CN=ada, by another CA
#   stale       CN=ada, over for a day or more
set -eu
cd "$1"
log=openssl.log

# With all extensions that a strict verifier, as Python's since 3.13, looks for.
authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=$2" \
        -addext "keyUsage=critical,keyCertSign,cRLSign" -keyout "$1.key" -out "$1.pem" >>$log 2>&1
}

# OpenSSL 3.4 refuses a negative number of days and has options for dates instead.
over="-days -1"
if openssl x509 -help 2>&1 | grep -q not_after; then
    over="-not_before 20250101000000Z -not_after 20250102000000Z"
fi

# issue NAME CA SUBJECT SANS [VALID [KEY...]]: SANS may be empty; VALID are options of openssl x509.
issue() {
    name=$1 ca=$2 subject=$3 sans=$4 valid=${5:--days 30}
    shift 4
    [ $# -eq 0 ] || shift
    [ $# -gt 0 ] || set -- -newkey ec -pkeyopt ec_paramgen_curve:P-256
    openssl req -new "$@" -nodes -subj "$subject" -keyout "$name.key" -out "$name.csr" >>$log 2>&1
    {
        echo "basicConstraints=CA:FALSE"
        echo "subjectKeyIdentifier=hash"
        echo "authorityKeyIdentifier=keyid"
        [ -z "$sans" ] || echo "subjectAltName=$sans"
    } >"$name.ext"
    # shellcheck disable=SC2086 # several words
    openssl x509 -req -in "$name.csr" -CA "$ca.pem" -CAkey "$ca.key" -CAcreateserial \
        $valid -extfile "$name.ext" -out "$name.pem" >>$log 2>&1
}

here="DNS:localhost,IP:127.0.0.1,IP:::1,DNS:api.example.test"
authority ca "Tidegate test CA"
authority rogue-ca "Some other CA"
issue server ca /CN=localhost "$here"
issue renewed ca /CN=localhost "$here"
issue rsa ca /CN=localhost "$here" "" -newkey rsa:2048
issue other ca /CN=other "DNS:other.example.test"
issue wildcard ca /CN=wildcard "DNS:*.wild.test"
issue exact ca /CN=exact "DNS:exact.wild.test"
issue old ca /CN=cn.example.test ""
issue expired ca /CN=localhost "$here" "$over"
issue client ca "/O=Example/CN=ada" \
    "DNS:ada.example.test,email:ada@example.test,URI:spiffe://example.test/ada,IP:10.1.2.3"
issue rogue rogue-ca "/CN=ada" ""
issue stale ca "/CN=ada" "" "$over"
