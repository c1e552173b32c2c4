//! Chat commands: what moderators write instead of pressing buttons.

use lightstick_chat_proto::{PollStart, Settings, Timeout, moderate::Action};

use crate::refusal::{Code, Refusal};

/// A timeout that says no length, in seconds.
const TIMEOUT_DEFAULT: u32 = 600;

/// What a command asks for, with its reason.
#[derive(Clone, Debug, PartialEq)]
pub struct SlashCommand {
    pub action: Action,
    /// The rest of the line.
    pub reason: String,
}

/// Reads a text that begins with `/`. `settings` are those of the room, which a command may change.
///
/// # Errors
/// [`Code::BadCommand`], with the command's usage.
pub fn parse(text: &str, settings: &Settings) -> Result<SlashCommand, Refusal> {
    let (name, rest) = split(text.trim_start_matches('/'));
    let usage = |usage: &str| Refusal::because(Code::BadCommand, usage);
    let user = |usage_text: &str| match split(rest) {
        ("", _) => Err(usage(usage_text)),
        (user, reason) => Ok((user.trim_start_matches('@').to_owned(), reason.to_owned())),
    };
    let plain = |action| {
        Ok(SlashCommand {
            action,
            reason: rest.to_owned(),
        })
    };
    let on_user = |usage_text: &str, action: fn(String) -> Action| {
        let (user, reason) = user(usage_text)?;
        Ok(SlashCommand {
            action: action(user),
            reason,
        })
    };
    let id = |usage_text: &str| {
        let (id, reason) = split(rest);
        let id: u64 = id.parse().map_err(|_| usage(usage_text))?;
        Ok::<_, Refusal>((id, reason.to_owned()))
    };
    let switch = |set: fn(&mut Settings, bool)| {
        let (word, reason) = split(rest);
        let on = match word {
            "on" | "" => true,
            "off" => false,
            _ => return Err(usage("/COMMAND on|off")),
        };
        let mut changed = settings.clone();
        set(&mut changed, on);
        Ok(SlashCommand {
            action: Action::Settings(changed),
            reason: reason.to_owned(),
        })
    };
    match name {
        "timeout" => {
            let (user, rest) = user("/timeout USER [SECONDS] [REASON]")?;
            let (first, reason) = split(&rest);
            let (seconds, reason) = match first.parse() {
                Ok(seconds) => (seconds, reason),
                Err(_) => (TIMEOUT_DEFAULT, rest.as_str()),
            };
            let reason = reason.to_owned();
            Ok(SlashCommand {
                action: Action::Timeout(Timeout { user, seconds }),
                reason,
            })
        }
        "ban" => on_user("/ban USER [REASON]", Action::Ban),
        "unban" | "untimeout" => on_user("/unban USER [REASON]", Action::Unban),
        "shadow" => on_user("/shadow USER [REASON]", Action::Shadow),
        "unshadow" => on_user("/unshadow USER [REASON]", Action::Unshadow),
        "clear" => on_user("/clear USER [REASON]", Action::ClearUser),
        "warn" => on_user("/warn USER [REASON]", Action::Warn),
        "delete" => {
            let (id, reason) = id("/delete MESSAGE-ID [REASON]")?;
            Ok(SlashCommand {
                action: Action::Delete(id),
                reason,
            })
        }
        "pin" => {
            let (id, reason) = id("/pin MESSAGE-ID")?;
            Ok(SlashCommand {
                action: Action::Pin(id),
                reason,
            })
        }
        "unpin" => plain(Action::Pin(0)),
        "announce" if rest.is_empty() => Err(usage("/announce TEXT")),
        "announce" => Ok(SlashCommand {
            action: Action::Announce(rest.to_owned()),
            reason: String::new(),
        }),
        "slow" => {
            let (word, reason) = split(rest);
            let seconds = match word {
                "off" => 0,
                "" => 10,
                word => word.parse().map_err(|_| usage("/slow [SECONDS|off]"))?,
            };
            let mut changed = settings.clone();
            changed.slow_seconds = seconds;
            Ok(SlashCommand {
                action: Action::Settings(changed),
                reason: reason.to_owned(),
            })
        }
        "members" => switch(|settings, on| settings.members_only = on),
        "emoteonly" => switch(|settings, on| settings.emote_only = on),
        "unique" => switch(|settings, on| settings.unique_only = on),
        "links" => switch(|settings, on| settings.links_off = !on),
        "mute" => switch(|settings, on| settings.muted = on),
        "shield" => switch(|settings, on| settings.shield = on),
        "poll" => {
            let mut words = rest
                .split('|')
                .map(str::trim)
                .filter(|word| !word.is_empty());
            let question = words.next().unwrap_or_default().to_owned();
            let choices: Vec<_> = words.map(str::to_owned).collect();
            if choices.len() < 2 {
                return Err(usage("/poll QUESTION | CHOICE | CHOICE ..."));
            }
            let poll = PollStart {
                question,
                choices,
                seconds: 0,
            };
            Ok(SlashCommand {
                action: Action::PollStart(poll),
                reason: String::new(),
            })
        }
        "endpoll" => plain(Action::PollEnd(0)),
        _ => Err(usage(
            "commands: /timeout /ban /unban /shadow /unshadow /clear /warn /delete /pin /unpin \
             /announce /slow /members /emoteonly /unique /links /mute /shield /poll /endpoll",
        )),
    }
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    match text.split_once(char::is_whitespace) {
        Some((first, rest)) => (first, rest.trim()),
        None => (text, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_table() {
        let settings = Settings {
            members_only: true,
            ..Settings::default()
        };
        let timeout = |user: &str, seconds| {
            Action::Timeout(Timeout {
                user: user.into(),
                seconds,
            })
        };
        for (text, action, reason) in [
            ("/timeout mina", timeout("mina", 600), ""),
            (
                "/timeout @mina 60 too loud",
                timeout("mina", 60),
                "too loud",
            ),
            ("/timeout mina be nice", timeout("mina", 600), "be nice"),
            ("/ban  mina  ", Action::Ban("mina".into()), ""),
            ("/unban mina", Action::Unban("mina".into()), ""),
            ("/delete 42 spam", Action::Delete(42), "spam"),
            ("/unpin", Action::Pin(0), ""),
            (
                "/announce 안녕 여러분",
                Action::Announce("안녕 여러분".into()),
                "",
            ),
        ] {
            let reason = reason.to_owned();
            assert_eq!(
                parse(text, &settings),
                Ok(SlashCommand { action, reason }),
                "{text}"
            );
        }
        for (text, changed) in [
            (
                "/slow 30",
                Settings {
                    slow_seconds: 30,
                    ..settings.clone()
                },
            ),
            ("/slow off", settings.clone()),
            (
                "/members off",
                Settings {
                    members_only: false,
                    ..settings.clone()
                },
            ),
            (
                "/links off",
                Settings {
                    links_off: true,
                    ..settings.clone()
                },
            ),
            (
                "/shield",
                Settings {
                    shield: true,
                    ..settings.clone()
                },
            ),
        ] {
            let action = Action::Settings(changed);
            assert_eq!(
                parse(text, &settings).map(|c| c.action),
                Ok(action),
                "{text}"
            );
        }
        for text in [
            "/",
            "/timeout",
            "/ban",
            "/delete x",
            "/slow x",
            "/shield maybe",
            "/poll a|b",
            "/dance",
        ] {
            let refused = parse(text, &settings).map_err(|refusal| refusal.code);
            assert_eq!(refused, Err(Code::BadCommand), "{text}");
        }
    }
}
