#!/bin/sh
# Makes the certificates of the tests: an authority, and two certificates of it for 127.0.0.1 and localhost. They are
# good for a hundred years and for nothing but tests; the authority's key is thrown away.
set -eu
cd "$(dirname "$0")"
key() { openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out "$1"; }
key authority.key
openssl req -x509 -new -key authority.key -days 36500 -subj "/CN=diarized tests" -out authority.pem \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign"
for name in first second; do
    key "$name.key"
    openssl req -new -key "$name.key" -subj "/CN=$name" -out request.csr
    printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n' >extensions
    openssl x509 -req -in request.csr -CA authority.pem -CAkey authority.key -CAcreateserial -days 36500 \
        -extfile extensions -out "$name.pem"
done
rm -f authority.key authority.srl request.csr extensions
