/**
 * A certificate for localhost and its key, made for these tests and trusted by nobody:
 * `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 36500 -subj /CN=localhost
 * -addext subjectAltName=DNS:localhost`
 */
export const cert = `-----BEGIN CERTIFICATE-----
MIIBlTCCATugAwIBAgIUURhhadyac96R8ZZz38+9Z+R7N68wCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMjAxNDkxM1oYDzIxMjYxMDI5
MDE0OTEzWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAQgG9Sn2TOh9yPmGqlmhRpAZnj/o2Pr72YvVXAafMPHlPRWR90+mzuK
oeI96PFUGYf+BX+/jW9t24a9rbMM2Z4To2kwZzAdBgNVHQ4EFgQUDFLkU35Hw3SV
nyV4/oyUPaTij90wHwYDVR0jBBgwFoAUDFLkU35Hw3SVnyV4/oyUPaTij90wDwYD
VR0TAQH/BAUwAwEB/zAUBgNVHREEDTALgglsb2NhbGhvc3QwCgYIKoZIzj0EAwID
SAAwRQIhAMehy7757xvpXQX5gVrvdZG6vB4DpdFZMJi5bQYpOZ+5AiA4Sbk+d0Ye
Cm9912mKETGOmsrBPUgsp6mUJELjPGax2A==
-----END CERTIFICATE-----
`;

export const key = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg9V5cN+WaOkNwgNPR
UgcdcBKQ0ffUOHkfPKeVh/15tluhRANCAAQgG9Sn2TOh9yPmGqlmhRpAZnj/o2Pr
72YvVXAafMPHlPRWR90+mzuKoeI96PFUGYf+BX+/jW9t24a9rbMM2Z4T
-----END PRIVATE KEY-----
`;
