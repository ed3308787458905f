//! The examples of the standards.

use super::*;
use crate::keyring::KeySet;
use crate::keyring::document::{Author, Selection};

const CLAIMS: &str =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

fn accepts(jwk: &str, algorithm: Algorithm, header: &str, signature: &str) {
    let mut settings = config(KeySource::Inline(Arc::from(jwk)), &[algorithm]);
    settings.issuer = Some(Arc::from("joe"));
    settings.audiences = Vec::new();
    let authenticator = authenticator(settings);
    let before = UNIX_EPOCH + Duration::from_secs(1_300_819_000);
    let token = format!("{header}.{CLAIMS}.{signature}");
    let identity = accepted(judge_at(&authenticator, &token, before));
    assert_eq!(identity.claims["http://example.com/is_root"], true);
    let after = UNIX_EPOCH + Duration::from_secs(1_300_819_500);
    assert_fault(judge_at(&authenticator, &token, after), CredentialFault::Expired);
}

#[test]
fn rfc_7515_appendix_a_1_hs256() {
    accepts(
        r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#,
        Algorithm::HS256,
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
        "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    );
}

#[test]
fn rfc_7515_appendix_a_2_rs256() {
    let n = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2l\
             ZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEM\
             a2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2P\
             AcDTW9gb54h4FRWyuXpoQ";
    accepts(
        &json!({"kty": "RSA", "n": n, "e": "AQAB"}).to_string(),
        Algorithm::RS256,
        "eyJhbGciOiJSUzI1NiJ9",
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr\
         7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--x\
         i12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_Ioy\
         pGlUPQGe77Rw",
    );
}

#[test]
fn rfc_7515_appendix_a_3_es256() {
    accepts(
        r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
        Algorithm::ES256,
        "eyJhbGciOiJFUzI1NiJ9",
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    );
}

#[test]
fn rfc_8037_appendix_a_4_ed25519() {
    use base64::Engine as _;
    let document = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let (keys, _) = KeySet::parse(document.as_bytes(), Author::Issuer).expect("a good key");
    let Selection::Found(key) = keys.select(None, Algorithm::EdDSA) else { panic!("one key fits") };
    let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    let signature = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    // The payload is "Example of Ed25519 signing", not claims, so only the signature can be checked.
    let signed = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    assert!(key.verify(Algorithm::EdDSA, signed, &signature));
    assert!(!key.verify(Algorithm::EdDSA, &signed[1..], &signature));
    assert!(!key.verify(Algorithm::ES256, signed, &signature));
}
