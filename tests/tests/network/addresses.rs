//! Who is let in by address, over real packets: client hosts in and out of range, a proxy that is trusted and one that is
//! not.

use tests::kernel::Kernel;

use crate::stage::Stage;

const NET: u8 = 170;

#[test]
fn hosts_in_range_are_admitted_and_no_field_lets_another_in_unless_a_trusted_proxy_sends_it() {
    if Kernel::load().is_none() {
        return;
    }
    let (inside, outside, proxy) = (0, 1, 2);
    let state = tests::gateway::folder();
    let rest = format!(
        "[gateway]\nstate = \"{}/state\"\ntrusted-proxies = [\"198.18.{}.0/24\"]\n\
         [route.inside]\nmatch = \"/inside\"\nrespond = {{ status = 200 }}\naccess = [\"allow 198.18.{NET}.0/24\", \"deny all\"]\n\
         [route.open]\nmatch = \"/open\"\nrespond = {{ status = 200 }}\n",
        state.display(),
        NET + 2
    );
    let stage = Stage::new(NET, 3, "", &rest);
    assert_eq!(stage.get(inside, "/inside").status, 200);
    assert_eq!(stage.get(outside, "/open").status, 200, "the other route is open");
    let refused = stage.get(outside, "/inside");
    assert_eq!((refused.status, refused.header("x-gateway-reason")), (403, "address-denied"));
    assert_eq!(refused.json()["error"], "Forbidden");

    let (good, bad) = (stage.address(inside), stage.address(outside));
    let spoofs = [
        vec![format!("X-Forwarded-For: {good}")],
        vec![format!("X-Forwarded-For: {good}, {good}")],
        vec![format!("x-forwarded-for: {good}"), format!("X-Forwarded-For: {good}")],
        vec![format!("Forwarded: for={good}")],
        vec![format!("X-Real-IP: {good}")],
        vec![
            format!("True-Client-IP: {good}"),
            format!("CF-Connecting-IP: {good}"),
            format!("X-Client-IP: {good}"),
        ],
    ];
    let with = |host: usize, fields: &[String]| {
        let arguments: Vec<&str> = fields.iter().flat_map(|field| ["-H", field.as_str()]).collect();
        stage.get_with(host, &arguments, "/inside").status
    };
    for fields in &spoofs {
        assert_eq!(with(outside, fields), 403, "{fields:?}");
        assert_eq!(with(inside, &[format!("X-Forwarded-For: {bad}")]), 200, "nor does anybody lose his own");
    }
    // The proxy's word counts, from the right, up to the first that it does not vouch for.
    for (field, status) in [
        (format!("X-Forwarded-For: {good}"), 200),
        (format!("X-Forwarded-For: {bad}"), 403),
        (format!("X-Forwarded-For: {good}, {bad}"), 403),
        (format!("X-Forwarded-For: {bad}, {good}"), 200),
        (format!("Forwarded: for={good};proto=https"), 200),
        (format!("Forwarded: for={good}, for={bad}"), 403),
        ("X-Forwarded-For: nonsense".to_owned(), 403),
        (format!("X-Real-IP: {good}"), 403),
    ] {
        assert_eq!(with(proxy, std::slice::from_ref(&field)), status, "{field}");
    }
    drop(stage);
    let _ = std::fs::remove_dir_all(state);
}
