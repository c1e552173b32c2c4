use super::*;

fn found(text: &str) -> Found {
    let hosts = ["youtube.com".into(), "*.example.kr".into()];
    let links = Links::new(LinkPolicy::Block, &hosts).expect("usable hosts");
    links.find(text, &mut String::new())
}

fn check(expected: Found, texts: &[&str]) {
    for text in texts {
        assert_eq!(found(text), expected, "{text}");
    }
}

#[test]
fn links_are_found() {
    check(
        Found::Plain,
        &[
            "http://evil.com",
            "look https://evil.example/path?x=1 now",
            "HTTPS://EVIL.COM",
            "hxxp://evil.com",
            "hxxps://evil.whatever",
            "ftp://1.2.3.4/x",
            "http://[::1]/",
            "http://localhost:80",
            "evil.com",
            "여기로evil.com와",
            "evil.com!",
            "go to evil.co.uk.",
            "bit.ly/abc",
            "t.me/joinus",
            "discord.gg/abc",
            "www.evil.top",
            "1.2.3.4:8080",
            "evil。com",
            "evil．com",
            "mail me@evil.com",
            "한국어.com",
            "공연.한국",
            "evil.xyz",
            "a.b.c.d.e.com",
        ],
    );
}

#[test]
fn full_stops_are_found_in_disguise() {
    check(
        Found::Disguised,
        &[
            "evil . com",
            "evil .com",
            "evil dot com",
            "evil DOT com",
            "evil(dot)com",
            "evil [dot] com",
            "evil[.]com",
            "evil (.) net",
            "evil닷컴",
            "evil 닷컴",
        ],
    );
}

#[test]
fn allowed_hosts_may_be_linked_to() {
    check(
        Found::None,
        &[
            "https://youtube.com/watch?v=1",
            "https://www.youtube.com/watch",
            "YouTube.com",
            "m.youtube.com/x",
            "https://fan.example.kr:8443/a",
            "https://youtube.com./x",
        ],
    );
    check(
        Found::Plain,
        &[
            "https://youtube.com@evil.com/",
            "https://notyoutube.com",
            "https://youtube.com.evil.com",
            "https://yоutube.com",
            "youtube.com and evil.com",
            "https://evil.com/youtube.com",
        ],
    );
}

#[test]
fn ordinary_text_has_no_links() {
    check(
        Found::None,
        &[
            "hello. how are you",
            "wow...amazing",
            "end.Next one",
            "I love it.so much",
            "this.is.fine",
            "3.14",
            "v1.2.3",
            "1.2.3.4",
            "7:30 p.m. today",
            "e.g. this",
            "U.S.A.",
            "feat.IU",
            "ㅋㅋㅋ...ㅋㅋ",
            "최고다.진짜",
            "2026.11.21",
            "and/or // comment",
            "vol.2 no.1",
            "polka dot dress",
            "dot dot dot",
            "connect the dots",
            "go.live",
            "bye.me",
            "삼성닷컴",
            "..",
            ".com",
            "a.",
            "://",
            "",
        ],
    );
}

#[test]
fn policies_say_what_happens() {
    let mut host = String::new();
    let mut judge = |policy, text: &str| {
        let links = Links::new(policy, &[]).expect("usable hosts");
        links.judge(text, &mut host)
    };
    let (held, blocked) = (
        Verdict::Suspected(Reason::Link),
        Verdict::Blocked(Reason::Link),
    );
    assert_eq!(judge(LinkPolicy::Allow, "evil.com"), Verdict::Clean);
    assert_eq!(judge(LinkPolicy::Hold, "evil.com"), held);
    assert_eq!(judge(LinkPolicy::Block, "evil.com"), blocked);
    assert_eq!(judge(LinkPolicy::Block, "evil dot com"), held);
}

#[test]
fn hosts_have_limits() {
    let new = |hosts: &[String]| Links::new(LinkPolicy::Hold, hosts).map(drop);
    assert_eq!(
        new(&["ok.com".into(), "https://x.com/".into()]),
        Err(TermError::Host { index: 1 })
    );
    assert_eq!(new(&["nodots".into()]), Err(TermError::Host { index: 0 }));
    let many = vec!["ok.com".to_owned(); HOSTS_MAX + 1];
    assert_eq!(new(&many), Err(TermError::Host { index: HOSTS_MAX }));
    assert_eq!(new(&many[1..]), Ok(()));
}
