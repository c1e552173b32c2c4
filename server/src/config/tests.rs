use serde_json::json;

use super::explain::explain;
use super::*;

const EXAMPLE: &str = include_str!("../../../lightstick.example.toml");

fn parse(toml: &str) -> anyhow::Result<Config> {
    let figment = Figment::from(Serialized::defaults(Config::default())).merge(Toml::string(toml));
    let config: Config = figment
        .extract()
        .map_err(|errors| anyhow::anyhow!(explain(&figment, errors)))?;
    check(&config)?;
    Ok(config)
}

#[test]
fn the_example_documents_each_key_and_shows_the_defaults() {
    // What is commented out is an example of a key without a default.
    assert_eq!(parse(EXAMPLE).expect("the example"), Config::default());
    let all = serde_json::to_value(Config::default()).unwrap();
    let mut missing = Vec::new();
    names(&all, &mut |name| {
        let documented = EXAMPLE.lines().any(|line| {
            let line = line.trim_start_matches(['#', ' ']);
            line.split('=').next().is_some_and(|key| key.trim() == name)
                || line.starts_with(&format!("[{name}"))
                || line.contains(&format!(".{name}]"))
                || line.contains(&format!(".{name}."))
                || line.contains(&format!("[signaling.{name}"))
        });
        if !documented {
            missing.push(name.to_owned());
        }
    });
    assert!(missing.is_empty(), "not in the example: {missing:?}");
}

fn names(value: &Value, each: &mut impl FnMut(&str)) {
    if let Value::Object(map) = value {
        for (name, value) in map {
            each(name);
            names(value, each);
        }
    }
}

#[test]
fn mistakes_are_explained() {
    let check = |toml: &str, wanted: &[&str]| {
        let error = format!("{:#}", parse(toml).expect_err(toml));
        for part in wanted {
            assert!(error.contains(part), "{toml}: {error}");
        }
    };
    check("[http]\nbnid = \"x\"", &["bnid", "bind"]);
    check("[htpp]\nbind = \"127.0.0.1:1\"", &["htpp", "http"]);
    check("[http]\nbind = \"nowhere\"", &["http.bind", "nowhere"]);
    check("[media]\nport = 70000", &["media.port"]);
    check("[media]\nring_frames = 0", &["ring_frames", "at least"]);
    check(
        "[shutdown]\ndeadline = -1.0",
        &["shutdown.deadline", "not a duration"],
    );
    check(
        "[shutdown]\ndeadline = \"61m\"",
        &["deadline is 61m", "0s to 1h"],
    );
    check(
        "[signaling]\ngrace = \"25h\"",
        &["grace is 25h", "at most 1d"],
    );
    check(
        "[http]\nhead_timeout = \"0s\"",
        &["head_timeout is 0s", "1s to 10m"],
    );
    check(
        "[chat]\nidle_timeout = \"0s\"",
        &["chat.idle_timeout", "1s to 1d"],
    );
    check("[http]\npublic_url = \"live\"", &["public_url", "https://"]);
    check(
        "[http]\nbind = \"0.0.0.0:80\"",
        &["0.0.0.0", "[auth.keys", "openssl"],
    );
    check(
        "[media]\nbind = [\"192.0.2.7\"]",
        &["192.0.2.7", "[auth.keys"],
    );
    check("[log]\nformat = \"xml\"", &["xml", "pretty"]);
    check("[log]\nlevel = \"a=b=c\"", &["a=b=c", "info"]);
    check(
        "[media]\nbind = [\"0.0.0.0\"]",
        &["0.0.0.0", "media.advertise"],
    );
    check(
        "[media]\nadvertise = [\"10.0.0.1\", \"10.0.0.2\"]",
        &["at most one"],
    );
}

#[test]
fn secrets_are_not_shown() {
    const DIGITS: &str = "12345678901234567890123456789012";
    for toml in [
        format!("[auth.keys.a]\nsecret = {DIGITS}"),
        "[auth.keys.a]\nsecret = 1234567890123456789".to_owned(),
        "[auth.keys.a]\nsecret = [1234567890123456789]".to_owned(),
        "[auth.keys.a]\nsecret = \"1234567890123456789".to_owned(),
        "[chat.archive]\nnode_key = 1234567890123456789".to_owned(),
        "[chat.archive]\nnode_key = \"1234567890123456789\"".to_owned(),
        "[chat.archive]\nurl = \"mysql://a:1234567890123456789@b/c\"".to_owned(),
        "[chat.archive]\nurl = 1234567890123456789".to_owned(),
        "[chat.review]\nurl = \"https://a\"\nsecret = \"1234567890123456789\"".to_owned(),
        "[[chat.webhooks]]\nurl = \"https://a\"\nsecret = 1234567890123456789".to_owned(),
        "[[signaling.ice_servers]]\nurls = [\"turn:a\"]\nsecret = 1234567890123456789".to_owned(),
        "[[signaling.ice_servers]]\nurls = [\"turn:a\"]\ncredential = 1234567890123456789"
            .to_owned(),
    ] {
        let error = format!("{:#}", parse(&toml).expect_err(&toml));
        assert!(!error.contains("123456789"), "{toml}: {error}");
    }
    let key = KeyConfig {
        secret: Some(DIGITS.into()),
        ..KeyConfig::default()
    };
    let mut config = Config::default();
    config.auth.keys.insert("a".into(), key);
    assert!(!format!("{config:?}").contains(DIGITS));
}

#[test]
fn digits_of_the_environment_are_text_in_quotes() {
    let figment = |value: &str| {
        Figment::from(Serialized::defaults(Config::default())).merge((
            "auth.keys.a.secret",
            value.parse::<figment::value::Value>().unwrap(),
        ))
    };
    let plain = figment("1234567890123456789");
    let error = explain(&plain, plain.extract::<Config>().unwrap_err());
    assert!(
        error.contains("auth.keys.a.secret") && error.contains("quotes"),
        "{error}"
    );
    assert!(!error.contains("123456789"), "{error}");
    let quoted: Config = figment("\"0123\"").extract().unwrap();
    assert_eq!(quoted.auth.keys["a"].secret.as_deref(), Some("0123"));
}

#[test]
fn later_sources_win() {
    let overrides = [("media.port", json!(9000)), ("log.format", json!("json"))];
    let config = load(None, &overrides).unwrap();
    assert_eq!(
        (config.media.port, config.log.format),
        (9000, LogFormat::Json)
    );
    assert!(load(Some(Path::new("/nonexistent.toml")), &[]).is_err());
}

#[test]
fn variables_that_miss_an_underscore_are_refused() {
    let check = |name: &str| environment_is_sound(&[name.to_owned()]);
    let error = check("MEDIA_PORT").unwrap_err().to_string();
    assert!(error.contains("LIGHTSTICK_MEDIA__PORT"), "{error}");
    assert!(check("HTTP_PUBLIC_URL").is_err());
    for fine in [
        "MEDIA__PORT",
        "CONFIG",
        "PORT",
        "SERVICE_HOST",
        "PORT_8080_TCP",
    ] {
        assert!(check(fine).is_ok(), "{fine}");
    }
}

#[test]
fn durations_of_former_versions_are_told_what_to_write() {
    let check = |place: &str, value: &str, wanted: &str| {
        // As the environment has it, which is read as the file is.
        let value = value.parse::<figment::value::Value>().unwrap();
        let figment = Figment::from(Serialized::defaults(Config::default())).merge((place, value));
        let error = explain(&figment, figment.extract::<Config>().unwrap_err());
        let begins = format!("in [{place}]: ");
        assert!(
            error.contains(&begins) && error.contains(wanted),
            "{place}: {error}"
        );
    };
    for (place, value, written) in [
        ("chat.idle_seconds", "300", "idle_timeout = \"5m\""),
        ("chat.hello_seconds", "10", "hello_timeout = \"10s\""),
        ("chat.room.tick_ms", "200", "tick = \"200ms\""),
        ("chat.room.urgent_ms", "40", "urgent_wait = \"40ms\""),
        ("chat.room.rate_seconds", "30", "rate_window = \"30s\""),
        ("chat.room.held_seconds", "600", "held_timeout = \"10m\""),
        ("chat.room.review_ms", "800", "review_timeout = \"800ms\""),
        (
            "chat.archive.batch_wait_ms",
            "200",
            "batch_wait = \"200ms\"",
        ),
        (
            "chat.archive.database_timeout_ms",
            "10000",
            "database_timeout = \"10s\"",
        ),
        (
            "chat.archive.retry_wait_max_ms",
            "5000",
            "retry_wait_max = \"5s\"",
        ),
        ("chat.archive.retain_days", "90", "retain = \"90d\""),
        (
            "chat.archive.retain_audit_days",
            "0",
            "retain_audit = \"0s\"",
        ),
        ("chat.delivery.timeout_ms", "15000", "timeout = \"15s\""),
        ("chat.delivery.retry_ms", "5000", "retry_wait = \"5s\""),
        (
            "chat.delivery.retry_max_ms",
            "300000",
            "retry_wait_max = \"5m\"",
        ),
        ("chat.room.tick_ms", "-1", "a duration such as"),
        (
            "chat.room.tick_ms",
            "99999999999999999999",
            "a duration such as",
        ),
        ("http.head_timeout", "15.0", "write \"15s\""),
        ("media.frame_hold", "0.01", "write \"10ms\""),
        ("media.playout_delay_min", "0", "write \"0s\""),
        ("signaling.grace", "30", "write \"30s\""),
        ("signaling.turn_ttl", "21600.0", "write \"6h\""),
        ("signaling.turn_ttl", "99999999999999999999d", "too long"),
        ("shutdown.deadline", "10.0", "write \"10s\""),
        ("shutdown.deadline", "ten", "not a duration"),
    ] {
        check(place, value, written);
    }
    for (toml, written) in [
        ("[chat.room]\ntick_ms = 200", "write tick = \"200ms\""),
        ("[chat.archive]\nretain_days = 0", "write retain = \"0s\""),
        ("[chat.delivery]\nretry_ms = -5", "a duration such as"),
        ("[signaling]\ngrace = 30", "write \"30s\""),
        ("[media]\nframe_hold = 0.01", "write \"10ms\""),
    ] {
        let error = format!("{:#}", parse(toml).expect_err(toml));
        assert!(error.contains(written), "{toml}: {error}");
    }
    let config =
        parse("[media]\nplayout_delay_min = \"0s\"\nplayout_delay_max = \"20ms\"").unwrap();
    assert_eq!(
        config.media.playout_delay_max,
        Some(Duration::from_millis(20))
    );
}
