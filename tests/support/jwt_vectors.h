/* jwt_vectors.h - keys and tokens of RFC 7515 appendix A and RFC 7520 section 4, and the same RSA and EC
 * keys as PEM.
 */
#ifndef TG_TESTS_JWT_VECTORS_H
#define TG_TESTS_JWT_VECTORS_H

#define RFC7515_A1_TOKEN                                                                           \
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODA"         \
    "sDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_w"         \
    "W1gFWFOEjXk"

#define RFC7515_A1_JWK                                                                             \
    "{\"kty\":\"oct\",\"k\":\"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN"         \
    "3Yj0iPS4hcgUuTwjAzZr1Z9CAow\"}"

#define RFC7515_A2_TOKEN                                                                           \
    "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGF"         \
    "tcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu"         \
    "3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdi"         \
    "uB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--x"         \
    "i12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5A"         \
    "XLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"

#define RFC7515_A2_N                                                                               \
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEz"         \
    "P1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf6"         \
    "3kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5Zw"         \
    "Kh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRW"         \
    "yuXpoQ"

#define RFC7515_A2_JWK                                                                             \
    "{\"kty\":\"RSA\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxH"         \
    "mfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47"         \
    "soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665x"         \
    "smtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFk"         \
    "MLs91kzk2PAcDTW9gb54h4FRWyuXpoQ\",\"e\":\"AQAB\"}"

#define RFC7515_A2_PRIVATE_JWK                                                                     \
    "{\"kty\":\"RSA\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxH"         \
    "mfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47"         \
    "soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665x"         \
    "smtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFk"         \
    "MLs91kzk2PAcDTW9gb54h4FRWyuXpoQ\",\"e\":\"AQAB\",\"d\":\"Eq5xpGnNCivDflJsRQBXHx1hdR1"         \
    "k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe46sui395IW_GO-p"         \
    "WJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYan"         \
    "rC4D4qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPD"         \
    "VZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ\",\"p\":\"4BzEEOtIpm"         \
    "VdVEZNCqS7baC4crd0pqnRH_5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw_Py5PJd"         \
    "TJNPY8cQn7ouZ2KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn-nXqhJTBgIPgtldC-KDV5z-y2XDwGUc\",\"q"          \
    "\":\"uQPEfgmVtjL0Uyyx88GZFF1fOunH3-7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYsp1ZSe7zFYHj"         \
    "7C6ul7TjeLQeZD_YwD66t62wDmpe_HlB-TnBA-njbglfIsRLtXlnDzQkv5dTltRJ11BKBBypeeF6689rjcJI"         \
    "DEz9RWdc\"}"

#define RFC7515_A3_TOKEN                                                                           \
    "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGF"         \
    "tcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw"         \
    "5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"

#define RFC7515_A3_X "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"

#define RFC7515_A3_Y "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"

#define RFC7515_A3_JWK                                                                             \
    "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVE"         \
    "U\",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}"

#define RFC7515_A3_PRIVATE_JWK                                                                     \
    "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVE"         \
    "U\",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\",\"d\":\"jpsQnnGQmL-YBIffH1"         \
    "136cspYG6-0iY7X1fCE9-E9LI\"}"

#define RFC7515_A4_TOKEN                                                                           \
    "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1"         \
    "bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqO"         \
    "gzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn"

#define RFC7515_A4_JWK                                                                             \
    "{\"kty\":\"EC\",\"crv\":\"P-521\",\"x\":\"AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxr"         \
    "rjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk\",\"y\":\"ADSmRA43Z1DSNx_RvcLI87cdL07"         \
    "l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2\"}"

#define RFC7515_A4_PRIVATE_JWK                                                                     \
    "{\"kty\":\"EC\",\"crv\":\"P-521\",\"x\":\"AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxr"         \
    "rjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk\",\"y\":\"ADSmRA43Z1DSNx_RvcLI87cdL07"         \
    "l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2\",\"d\":\"AY5pb7A0UFiB"         \
    "3RELSD64fTLOSV_jazdF7fLYyuTw8lOfRhWg6Y6rUrPAxerEzgdRhajnu0ferB0d53vM9mE15j2C\"}"

#define RFC7520_RSA_JWK                                                                            \
    "{\"kty\":\"RSA\",\"kid\":\"bilbo.baggins@hobbiton.example\",\"use\":\"sig\",\"n\":\""         \
    "n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZ"         \
    "QHz_AJmSCpMaJMRBSFKrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oB"         \
    "HqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVb"         \
    "b9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHd"         \
    "rNP5zw\",\"e\":\"AQAB\"}"

#define RFC7520_EC_JWK                                                                             \
    "{\"kty\":\"EC\",\"kid\":\"bilbo.baggins@hobbiton.example\",\"use\":\"sig\",\"crv\":"          \
    "\"P-521\",\"x\":\"AHKZLLOsCOzz5cY97ewNUajB957y-C-U88c3v13nmGZx6sYl_oJXu9A5RkTKqjqvjy"         \
    "ekWF-7ytDyRXYgCF5cj0Kt\",\"y\":\"AdymlHvOiLxXkEhayXQnNCvDX4h9htZaCJN34kfmC6pV5OhQHir"         \
    "aVySsUdaQkAgDPrwQrJmbnX9cwlGfP-HqHZR1\"}"

#define RFC7520_MAC_JWK                                                                            \
    "{\"kty\":\"oct\",\"kid\":\"018c0ae5-4d9b-471b-bfd6-eef314bc7037\",\"use\":\"sig\",\""         \
    "alg\":\"HS256\",\"k\":\"hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg\"}"

#define RFC7520_4_1_TOKEN                                                                          \
    "eyJhbGciOiJSUzI1NiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9.SXTigJlzIGE"         \
    "gZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB"         \
    "0aGUgcm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmc"         \
    "gd2hlcmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4.MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5ME"         \
    "aHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xuglII7PNDi84wnB-BDkoBwA78185hX-Es4"         \
    "JIwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1Kt9eRo4QPocSadnHXFx"         \
    "nt8Is9UzpERV0ePPQdLuW3IS_de3xyIrDaLGdjluPxUAhb6L2aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4uOZ"         \
    "Dnd6QZWJushZ41Axf_fcIe8u9ipH84ogoree7vjbU5y18kDquDg"

#define RFC7520_4_2_TOKEN                                                                          \
    "eyJhbGciOiJQUzM4NCIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9.SXTigJlzIGE"         \
    "gZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB"         \
    "0aGUgcm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmc"         \
    "gd2hlcmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4.cu22eBqkYDKgIlTpzDXGvaFfz6WGoz7fUDcfT0k"         \
    "kOy42miAh2qyBzk1xEsnk2IpN6-tPid6VrklHkqsGqDqHCdP6O8TTB5dDDItllVo6_1OLPpcbUrhiUSMxbbX"         \
    "UvdvWXzg-UD8biiReQFlfz28zGWVsdiNAUf8ZnyPEgVFn442ZdNqiVJRmBqrYRXe8P_ijQ7p8Vdz0TTrxUeT"         \
    "3lm8d9shnr2lfJT8ImUjvAA2Xez2Mlp8cBE5awDzT0qI0n6uiP1aCN_2_jLAeQTlqRHtfa64QQSUmFAAjVKP"         \
    "bByi7xho0uTOcbH510a6GYmJUAfmWjwZ6oD4ifKo8DYM-X72Eaw"

#define RFC7520_4_3_TOKEN                                                                          \
    "eyJhbGciOiJFUzUxMiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9.SXTigJlzIGE"         \
    "gZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB"         \
    "0aGUgcm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmc"         \
    "gd2hlcmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4.AE_R_YZCChjn4791jSQCrdPZCNYqHXCTZH0-JZG"         \
    "YNlaAjP2kqaluUIIUnC9qvbu9Plon7KRTzoNEuT4Va2cmL1eJAQy3mtPBu_u_sDDyYjnAMDxXPn7XrT0lw-k"         \
    "vAD890jl8e2puQens_IEKBpHABlsbEPX6sFY8OcGDqoRuBomu9xQ2"

#define RFC7520_4_4_TOKEN                                                                          \
    "eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAzNyJ9.SXT"         \
    "igJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXA"         \
    "gb250byB0aGUgcm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGt"         \
    "ub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4.s0h6KThzkfBBBkLspW1h84VsJZFTsPP"         \
    "qMDA7g1Md7p0"

/* The key of A.2. */
#define RSA_SPKI_PEM                                                                               \
    "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAofgWCuLjybRl"         \
    "zo0tZWJj\nNiuSfb4p4fAkd/wWJcyQoTbji9k0l8W26mPddxHmfHQp+Vaw+4qPCJrcS2mJPMEz\nP1Pt0Bm4"         \
    "d4QlL+yRT+SFd2lZS+pCgNMsD1W/YpRPEwOWvG6b32690r2jZ47soMZo\n9wGzjb/7OMg0LOL+bSf63kpaSH"         \
    "SXndS5z5rexMdbBYUsLA9e+KXBdQOS+UTo7WTB\nEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9k"         \
    "G4LT6/I5IhlJH7aGhyxX\nFvUK+DWNmoudF8NAco9/h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyu"         \
    "Xp\noQIDAQAB\n-----END PUBLIC KEY-----\n"

#define RSA_PKCS1_PEM                                                                              \
    "-----BEGIN RSA PUBLIC KEY-----\nMIIBCgKCAQEAofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd/wWJcyQ"         \
    "oTbji9k0l8W2\n6mPddxHmfHQp+Vaw+4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL+yRT+SFd2lZS+pCgNMs\nD1W/"         \
    "YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb/7OMg0LOL+bSf63kpaSHSXndS5\nz5rexMdbBYUsLA9e+KXBdQ"         \
    "OS+UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxv\nb3qCo5ZwKh9kG4LT6/I5IhlJH7aGhyxXFvUK+DWN"         \
    "moudF8NAco9/h9iaGNj8q2et\nhFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQIDAQAB\n-----END RSA PUB"         \
    "LIC KEY-----\n"

#define RSA_PRIVATE_PKCS8_PEM                                                                      \
    "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQCh+BY"         \
    "K4uPJtGXO\njS1lYmM2K5J9vinh8CR3/BYlzJChNuOL2TSXxbbqY913EeZ8dCn5VrD7io8ImtxL\naYk8wTM"         \
    "/U+3QGbh3hCUv7JFP5IV3aVlL6kKA0ywPVb9ilE8TA5a8bpvfbr3SvaNn\njuygxmj3AbONv/s4yDQs4v5tJ"         \
    "/reSlpIdJed1LnPmt7Ex1sFhSwsD174pcF1A5L5\nROjtZMEQxrZHYJqkeDrrnGya11UxMFBji4NmXG9veoK"         \
    "jlnAqH2QbgtPr8jkiGUkf\ntoaHLFcW9Qr4NY2ai50Xw0Byj3+H2JoY2PyrZ62EWQwuz3WTOTY8BwNNb2Bvn"         \
    "iHg\nVFbK5emhAgMBAAECggEAEq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyW\nPEAeP88vLNO97"         \
    "IjlA7/GQ5sLKMgvfTeXZx9SE+7YwVol2NXOoAJe46sui395IW/G\nO+pWJ1O0BkTGoVEn2bKVRUCgu+GjBVa"         \
    "YLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzj\nkn439X0M/V51gfpRLI9JYanrC4D4qAdGcopV/0ZHHzQlBjudU"         \
    "2QvXt4ehNYTCBr6\nXCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl/x/jTj3ccPDVZFD9pIuhLhBOneufuBiB\n4"         \
    "cS98l2SR/RQyGWSeWjnczT0QU91p1DhOVRuOopznQKBgQDgHMQQ60imZV1URk0K\npLttoLhyt3SmqdEf/kg"         \
    "HePDdtzEafpAu+cS191R2JiuoF2yzWXnwFDcqGigp5BNr\n0AHQfD8/Lk8l1Mk09jxxCfui5nYooNyac8YFj"         \
    "m3vItzVCVDnEd3BbVWG8qf6deqE\nlMGAg+C2V0L4oNXnP7LZcPAZRwKBgQC5A8R+CZW2MvRTLLHzwZkUXV8"         \
    "66cff7tx6\nkqa0finGG0KgeqlaZPxgCZnFp7AeAcCMtiynVlJ7vMVgePsLq6XtON4tB5kP9jAP\nrq3rbAO"         \
    "al78eUH5OcED6eNuCV8ixEu1eWcPNCS/l1OW1EnXUEoEHKl54Xrrz2uNw\nkgMTP1FZ1wKBgAcCn1dwJKufz"         \
    "BWQxWQp1vsM5fggqPN1qGb5y0MAk3g7/Ls5bkUp\n5u9SN0Ai3Ya6hNnvWJMb7sXQX6U/zyO2M/hTip7tUeh"         \
    "7CXgwo59dkpN75gJLVds2\n9+DAncu3KXU4f2Fa+7bLNrur53k8KwPOq2bbuTG69QtV7Jr5MR0AHWKNAoGBA"         \
    "If/\nevpitUf+4JYbLpvNXWcY052Mpz22aR84mY3nh3F2LF2mjMJDpTg7FmuyPcVw6EcG\nyoAe9fa65iNqC"         \
    "q+jdw6PVNGo2hxfjSiZ8IIzHdsPXI89//pMjZcQK9r+CCoRjaZj\nOYiIDktVWZzmevJuv6WywUqd57LE3Za"         \
    "r3dLSIkx1AoGAIYd7DHOhrWvxkwPQsRM2\ntOgrjbcrfvtQJipd+DlcxyVuuM9sQLdgjVk2oy26F0EmpScGL"         \
    "q2MowX7fhd/QJQ3\nydy5cY7YIBi87w93IKLEdfnbJtoOPLUW0ITrJReOgo1cq9SbsxYawBgfp/gh6A56\n0"         \
    "3k2+ZQwVK0JKSHuLFkuQ3U=\n-----END PRIVATE KEY-----\n"

#define RSA_PRIVATE_PKCS1_PEM                                                                      \
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEAofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd/w"         \
    "WJcyQoTbji9k0\nl8W26mPddxHmfHQp+Vaw+4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL+yRT+SFd2lZS+pC\ngNM"         \
    "sD1W/YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb/7OMg0LOL+bSf63kpaSHSX\nndS5z5rexMdbBYUsLA9e+"         \
    "KXBdQOS+UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uD\nZlxvb3qCo5ZwKh9kG4LT6/I5IhlJH7aGhyxXFvU"         \
    "K+DWNmoudF8NAco9/h9iaGNj8\nq2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQIDAQABAoIBABKucaRpz"         \
    "Qorw35S\nbEUAVx8dYXUdZOlJcHtiWQ+dC6V8ljxAHj/PLyzTveyI5QO/xkObCyjIL303l2cf\nUhPu2MFaJ"         \
    "djVzqACXuOrLot/eSFvxjvqVidTtAZExqFRJ9mylUVAoLvhowVWmC1O\nn95fZCXxTUtxNEG1Xcc7m0rtzJK"         \
    "s45J+N/V9DP1edYH6USyPSWGp6wuA+KgHRnKK\nVf9GRx80JQY7nVNkL17eHoTWEwga+lwi0FEoW9Y7lDtWX"         \
    "YmKBWhUE+U8PGxlJf8f\n40493HDw1WRQ/aSLoS4QTp3rn7gYgeHEvfJdkkf0UMhlknlo53M09EFPdadQ4Tl"         \
    "U\nbjqKc50CgYEA4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH/5IB3jw3bcxGn6QLvnE\ntfdUdiYrqBdss1l"         \
    "58BQ3KhooKeQTa9AB0Hw/Py5PJdTJNPY8cQn7ouZ2KKDcmnPG\nBY5t7yLc1QlQ5xHdwW1VhvKn+nXqhJTBg"         \
    "IPgtldC+KDV5z+y2XDwGUcCgYEAuQPE\nfgmVtjL0Uyyx88GZFF1fOunH3+7cepKmtH4pxhtCoHqpWmT8YAm"         \
    "ZxaewHgHAjLYs\np1ZSe7zFYHj7C6ul7TjeLQeZD/YwD66t62wDmpe/HlB+TnBA+njbglfIsRLtXlnD\nzQk"         \
    "v5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdcCgYAHAp9XcCSrn8wVkMVkKdb7\nDOX4IKjzdahm+ctDAJN4O"         \
    "/y7OW5FKebvUjdAIt2GuoTZ71iTG+7F0F+lP88jtjP4\nU4qe7VHoewl4MKOfXZKTe+YCS1XbNvfgwJ3Ltyl"         \
    "1OH9hWvu2yza7q+d5PCsDzqtm\n27kxuvULVeya+TEdAB1ijQKBgQCH/3r6YrVH/uCWGy6bzV1nGNOdjKc9t"         \
    "mkfOJmN\n54dxdixdpozCQ6U4OxZrsj3FcOhHBsqAHvX2uuYjagqvo3cOj1TRqNocX40omfCC\nMx3bD1yPP"         \
    "f/6TI2XECva/ggqEY2mYzmIiA5LVVmc5nrybr+lssFKneeyxN2Wq93S\n0iJMdQKBgCGHewxzoa1r8ZMD0LE"         \
    "TNrToK423K377UCYqXfg5XMclbrjPbEC3YI1Z\nNqMtuhdBJqUnBi6tjKMF+34Xf0CUN8ncuXGO2CAYvO8Pd"         \
    "yCixHX52ybaDjy1FtCE\n6yUXjoKNXKvUm7MWGsAYH6f4IegOetN5NvmUMFStCSkh7ixZLkN1\n-----END "         \
    "RSA PRIVATE KEY-----\n"

#define RSA_ENCRYPTED_PEM                                                                          \
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIFLTBXBgkqhkiG9w0BBQ0wSjApBgkqhkiG9w0BBQwwH"         \
    "AQI8Zt1MWepYZoCAggA\nMAwGCCqGSIb3DQIJBQAwHQYJYIZIAWUDBAEqBBB8GGFkqJFDk4I0qiuvRezHBII"         \
    "E\n0GykNP+gVYzVQo/TUBzYqtHfARBseEChO8YziH2aQsuGjbtONHzFp0UK4ezF/sr0\nAYSHUz2OnqNr06M"         \
    "ScfFW1lj02EGlFmgnwgf5+fZet66NDLwfkbKLt6dW+fvNwScT\nW41OyxTWiX2HzZ+rPF/Gauf1Rgv4nvZQ0"         \
    "P1T/YoiC7cyQeEWDMs17856j4KTyyby\nSyZVf1j3ST8V8p9b/J44ZG+l7iJyjCOkdIMI8KYc1/iRxnNXKCR"         \
    "AM+eTBafbH/uX\nxbHn8N6VtDeCuD7riVBRp9GjJ2YJAG1PCthXgkc0F88Qwp5LRikJwa+TTahElTfM\nnUL"         \
    "5fAncV5+lqoGEH5LxGkQnwUtJVkBnekhClUz30up0MZf8NSO5J4usHXzx8U/E\nmSFOvwCtiJPZUnnGxF/Hr"         \
    "ZZ83amQkehZEGaXkIQr/jHLcSUSBRP0W7TUK+vfnKgk\nJA+zRccJIavZVnBbz9s/eb+lS0j0ho7ppAJjQJN"         \
    "m3oNGv4EfNCrIBKqPQ7PE8BwY\n6Nrgdb48C7H0t1etkbp1vQGovnkyc/6zji0Qvgl+h2HFVNFuYWXbFq8cD"         \
    "6RO4CZo\ndHia3Ms9ciNRNLk2+S/M4lNwFY30kyRGC52N71Six4HBCK5muS6C0hvoazMAL89E\naDymWk+OO"         \
    "yRqiXH33kLSS68KUJMSVaesgn5UenZz8xGP5d1xSfN1ujXriqkulnKx\nLEiHkFQfD4gAPYR3PI3vMDiRjgV"         \
    "4I1Shl6GsDYnAbehmfSSJSRRqA26ky/3QBozM\nR0Nj6VVZqnI6o1AXjNc4f+b+9aeyanZ5cdBZkIkkIz1+R"         \
    "/1IPqoelrSD6bXrMOyJ\n3O6QF9332tjfy32JKWwpmn0e8/HyFXYhRU0LhkkFHnsL7FG13X8fNjD0jf8BoCk"         \
    "L\nFBj4NPrN4TgtqpmPpm3i57LlzpmBy/pg4AtZ9j2kv1gsq+f0WjA0Pz6+/pULSJmP\n8g//CZf/GMR5ECC"         \
    "J8JrDt/Z2DfEXHy5BSI6enaFAC5XCX2I5eWfeR4PsNgSjZtjJ\nT9AJVl0528avpZcmISehlJDbi1xlxX9pU"         \
    "HPZSiHAWIBofnXh2rYSv7xxpskAi8kk\nOU5JyuxyGQkY18B3j5v9oVn3g51le12LtdotPGCTb5X9VV2CrMV"         \
    "4eWMliEEEM/WJ\nPxZO0453atIGX2529FaAzxWpeWl7edbVpdbMMCMOa5TryPo6czt916mePrV8ax9B\nssU"         \
    "EmA/7/JFg2ZjLXvavPAOQYVwQfMHAffnG5+jRT/6fn8sm6w2GKnYi24Ug9oDZ\nxRYMSHI3clqRBpaPhNDov"         \
    "CniMQULC8y24UpYWWQ4PF2WZJEvMkj4nsrw5htYMTAq\ncFi+MBTGj/l9y8ZeEI8Ae5CaaM5g00u0rDNQijP"         \
    "WSCJ8aEGtIKq1m2Wnlr/VLyyo\nk59eZZoGw1nOc2TBmqdULncGQNiyVcIZ64FYlTJ2eNbpcyQrBv6ORND6k"         \
    "9kCj4jq\ne9oeg6Fv+bfM/oIAd9gdkz7oHmylt+w3FvXMOQ5MTm2P5HZDvT5JTAogsWevmJeh\nC9ahpYaXX"         \
    "Yt74wqXYKwbtY95zbKUqRyJRQokEqaJKK5ThtJIWNV3fcFj775yxP34\nUWpJ3XWdVepm2oSvk8+E50I7W5c"         \
    "/ybs8nyBZ/pEj0aSE\n-----END ENCRYPTED PRIVATE KEY-----\n"

/* PS256 of "what is signed" with its NUL, by the key of A.2: as RFC 7518 has it, with other salts, with another
 * hash in the mask. */
#define RSA_PSS_SALT_32                                                                            \
    "SGngTOvbOsqFkCmDSCVZ4zH5vK2rEtrxQTwGIcXUc5TiKzQDRxsu30LvE6ZtnVDKgzcv5sSPDrsc7U91_mLq"         \
    "H9wbvu_rzC0N1ZF-ntwnz6xsQVl2FfptwiGh6RhkpHwNGAeqwqv6eiztiQKuRVTN7dnGKvqmSD-iPg_H3j72"         \
    "g_WqZ5e6mvB2Mwcyh6z16KtjpWRFp-4GcCYT7q29dTpp-PKLrUWa9qdIJyrKtcBizjJXUd2PGxjKHp76p4Dt"         \
    "_HpMkMLbVoujHOJ54x1AGcDvAlT8s2-8X0IfxUlBi_ViSayRFMH34GfC3VAfz8yl0VhT_7uvFv8Z6mrKQCB8"         \
    "VHTmjQ"

#define RSA_PSS_SALT_20                                                                            \
    "dZu5xOFAYP0OwIwu3TuXimVvk0DulPdRXPhXgYc76QW9kxlwJvLEqpc5MxKrL3sGAfqbHAxS2clLKICOaUsA"         \
    "bD7a1d59Ejp7foH9HGbIQPYEzg5SVj1pN2PJ7g4_qQT02ex-CDirrzf2CdXH96LWQbTTFKvyn8I53nz8Z8Wj"         \
    "4k23pX97yzO4ZHpaXeWmxpVO79RBM21gGzdWM-lr--uHWO1D8peKuP4qRkd_drdidf9Ec0n99w1kqMXSqIvm"         \
    "Lot4e9y_YucblXYe0zX0fQdoI2EDeEWXIuSwMF6DyHpqnQSntkwBRKR_7nIi3gVxxx3pjSLLDHFTA2Qi4HNR"         \
    "U2Dlcw"

#define RSA_PSS_SALT_0                                                                             \
    "YijNZ9YfF0cWu39kP17Ywyx4kvnwv1gqCbwW9CjJTEwhumeUfKfs4BOCEbvAESVIBqKU47uuCm2VA5bsioYB"         \
    "_Nc_t4-MN8hw_WKCY1tKx2_pxrALBjdZjUoI32nJAqFOWsp2rRDzGHv-XopQ_3hqFsxWTpBNg9zhs03kGT4T"         \
    "cHYIeUuqR6nsfI4XAWjhsI7MRpy_yfWG3oD36vMaQcnwThJlEPeFj7VDDN95BIEhyTAIqMoQ_DPjhBMG-x3Z"         \
    "nZBtSeBWL_2nzwk0hjaFM8gZ35LzwFc-bpBPmc-f2JtK0YhOIXM6KmlXt5Ax4AWIKHGCfOopDOiHUPx43V6O"         \
    "ZZwA4w"

#define RSA_PSS_SALT_222                                                                           \
    "QF713Pho3Z3_tN42YxkLr8lGKBTSI-M6z8FsFxVablzeeZXcqxz3G_FZ7pR35mMgVO1qlH6MUlD_pXPFMMxO"         \
    "FaxK2h1HjbeCLVuQYg69vvzAaf8MrtEr3u0GVmw-spYNEo3x7rXHxRD86UOxsHmBKb9GimtldXvThLXnbqa8"         \
    "g0lSP2mwPlyiYG_SE3Hi9ioG-Y1ivxcjq7KsjjcwRIeRbvKW7hRvPCMqYL8bMKIMs2Ztl3YamRVidN3NBvnY"         \
    "8w6MCCyV0ddQTe7oaf9rKcTKf97tsXel2ofi6Xp7_HbWuc3njACn92PHirayx6P3mYa_t2eh1xdYHF2alxKc"         \
    "TcKsXw"

#define RSA_PSS_MGF1_SHA1                                                                          \
    "DNYeIWEj9A8AsowsWpX_99dXSHgQdll-XpjEOkqGtnDA9UOIE0FGikgisQLn5uEjVCb-bJVzG80vmB87PAWB"         \
    "2v2g8XI5tkbdgWm5wKgS1edxMgCoU8uSgFVK33JhDhlTFlz61auZ9eY3iDvm-Z3kNrCnieeD2uTx3Wt0bZ3d"         \
    "3f7Dp0FIrgLmLresdDrj_ObLSxplKmcN6DcWLBmZG11sKZlXBV0B1TgaUFeDRupMfWSRE50tj13w68mIZ-Af"         \
    "BJ0Fytas0D-91EreeZNs0V9mB0RsbiJc7GOBCN1XlT2Src_lOxolBcxobubnQIqnfkBO2--lU5Q3xLHwUCHM"         \
    "jzOm9A"

/* The key of A.3. */
#define EC_SPKI_PEM                                                                                \
    "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tL"         \
    "e1gHMzV7\n6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n-----END PUB"         \
    "LIC KEY-----\n"

#define EC_PRIVATE_PKCS8_PEM                                                                       \
    "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgjpsQnnG"         \
    "QmL+YBIff\nH1136cspYG6+0iY7X1fCE9+E9LKhRANCAAR/zc4ncPbEXUGDy+5v20t7WAczNXvp\n7xO6z24"         \
    "8e9FURcfxRM0bvZt+hyzf7bnuufSzaV1uqQskrYpGIyiFiOWt\n-----END PRIVATE KEY-----\n"

#define EC_PRIVATE_SEC1_PEM                                                                        \
    "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEII6bEJ5xkJi/mASH3x9dd+nLKWBuvtImO19XwhPfhPSy"         \
    "oAoGCCqGSM49\nAwEHoUQDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEXH8UTNG72b\nfocs"         \
    "3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n-----END EC PRIVATE KEY-----\n"

/* The key of A.3 in a certificate that expired in 2012. */
#define EC_CERTIFICATE_PEM                                                                         \
    "-----BEGIN CERTIFICATE-----\nMIIBGjCBwaADAgECAgEHMAoGCCqGSM49BAMCMBcxFTATBgNVBAMMDGt"         \
    "leXMuZXhh\nbXBsZTAeFw0xMTAxMDEwMDAwMDBaFw0xMjAxMDEwMDAwMDBaMBcxFTATBgNVBAMM\nDGtleXM"         \
    "uZXhhbXBsZTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABH/Nzidw9sRd\nQYPL7m/bS3tYBzM1e+nvE7rPb"         \
    "jx70VRFx/FEzRu9m36HLN/tue659LNpXW6pCySt\nikYjKIWI5a0wCgYIKoZIzj0EAwIDSAAwRQIhALhh+mM"         \
    "GhhcXmcsxkVxb1JOiETqu\nOVW0QL49owudjG7oAiBFW0gCYsOvaMTWKpgv2tirJ/Rd+AHmLXvwv7EmFJ2lG"         \
    "Q==\n-----END CERTIFICATE-----\n"

/* Keys that are refused. */
#define RSA_1024_PEM                                                                               \
    "-----BEGIN PUBLIC KEY-----\nMIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDKOWlGxIb2h3ld/sKS"         \
    "KbCJlVqs\nJyzYs6urS6akm7gYvJXQXL/w78k1TVkB44ZZKJsNeX6avqIQNvcGFkAjmyROpcft\nLezeJdY5"         \
    "e6txUFYRHjogpTf3MDiv+vNI9KK0hI1PMjHpqix3dxtLMQLRJx7b4XaF\nRDnND6BdnRrWqFV7UwIDAQAB\n"         \
    "-----END PUBLIC KEY-----\n"

#define SECP256K1_PEM                                                                              \
    "-----BEGIN PUBLIC KEY-----\nMFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAEH1v7TKDLdrrdcY9c7mxX85qO"         \
    "GGzc11Sn\nCnlTTK76cM/Jwlsdtozg4cHxXV7qW6TQ2xQm45lOWKkZLmt3A8vzkw==\n-----END PUBLIC "         \
    "KEY-----\n"

#define ED25519_PEM                                                                                \
    "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAQb9ZmD6N8REcLaLcSEk8v9xjOM7sGYDljmCSwDyn"         \
    "+zU=\n-----END PUBLIC KEY-----\n"

#endif
