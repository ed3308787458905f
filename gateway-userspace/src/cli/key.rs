//! `portcullis key`: API keys. The secret is printed once and kept nowhere; the configuration has its hash.

use aws_lc_rs::digest;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::admin::api::{Keys, ListKeys};

use super::table::Table;
use super::{Common, Exit, Output};

/// What keys begin with, so that scanners for leaked secrets find them.
const PREFIX: &str = "portcullis_live_";
/// Random bytes of a key: so many that one SHA-256 is enough.
const RANDOM_BYTES: usize = 32;

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

/// What to do with keys.
#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a key: prints the secret, once, and the line for the configuration.
    Create {
        /// The key's id, for logs; if not given, random.
        #[arg(long, value_parser = id)]
        id: Option<String>,
        /// Who owns it, if not called as the id.
        #[arg(long, value_parser = consumer)]
        consumer: Option<String>,
    },
    /// List the keys in force, without their secrets.
    List,
    /// Say how to revoke a key.
    Revoke {
        /// The key's id.
        id: String,
    },
}

/// Makes, lists or revokes.
pub fn run(common: &Common, output: &Output, arguments: &Arguments) -> Exit {
    match &arguments.verb {
        Verb::Create { id, consumer } => create(output, id.as_deref(), consumer.as_deref()),
        Verb::List => output.ask(common, &ListKeys {}, list),
        Verb::Revoke { id } => {
            output.raw(&revoke(id, &common.config.display().to_string()));
            Exit::Done
        }
    }
}

/// A new key.
#[derive(Debug, serde::Serialize)]
struct Created {
    id: String,
    secret: String,
    sha256: String,
    line: String,
}

fn create(output: &Output, id: Option<&str>, consumer: Option<&str>) -> Exit {
    let Some(created) = generate(id, consumer) else {
        output.complain("the system gives no random bytes");
        return Exit::Failed;
    };
    output.answer(&created, || {
        format!(
            "secret, shown only now:\n\n  {}\n\nput this line under the [auth.NAME] and run portcullis reload:\n\n  {}\n\n\
             undo with: delete the line and run portcullis reload\n",
            created.secret, created.line
        )
    });
    Exit::Done
}

fn generate(id: Option<&str>, consumer: Option<&str>) -> Option<Created> {
    let mut random = [0; RANDOM_BYTES];
    SystemRandom::new().fill(&mut random).ok()?;
    let secret = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
    let sha256: String = digest::digest(&digest::SHA256, secret.as_bytes())
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    // The hash is public, so its beginning can name the key.
    let id = id.map_or_else(|| format!("key-{}", &sha256[..8]), str::to_owned);
    let line = match consumer {
        None => format!("keys.{id} = \"sha256:{sha256}\""),
        Some(consumer) => format!("keys.{id} = {{ hash = \"sha256:{sha256}\", consumer = \"{consumer}\" }}"),
    };
    Some(Created { id, secret, sha256, line })
}

fn id(text: &str) -> Result<String, String> {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if text.is_empty() || !text.bytes().all(valid) {
        return Err("an id is letters, digits, `-` and `_`".into());
    }
    Ok(text.to_owned())
}

fn consumer(text: &str) -> Result<String, String> {
    if text.is_empty() || text.chars().any(|c| c.is_control() || c == '"' || c == '\\') {
        return Err("a consumer's name has no quotes, backslashes or control characters".into());
    }
    Ok(text.to_owned())
}

fn list(keys: &Keys) -> String {
    let mut table = Table::new(&["auth", "id", "consumer", "sha256", "state", "expires"]);
    for key in &keys.keys {
        table.row([
            key.auth.clone(),
            key.id.clone(),
            key.consumer.clone(),
            format!("{}…", key.fingerprint),
            key.state.clone(),
            key.expires.clone().unwrap_or_else(|| "never".into()),
        ]);
    }
    if table.is_empty() { "there are no API keys\n".into() } else { table.text() }
}

fn revoke(id: &str, config: &str) -> String {
    format!(
        "the key stands in the configuration: delete the line `keys.{id} = …` in {config} (or in a file of conf.d), and run\n\n  \
         portcullis reload\n\nfrom then on it is refused. undo with: put the line back and run portcullis reload\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_new_key_is_accepted_by_the_configuration_and_is_the_hash_of_its_secret() {
        for consumer in [None, Some("ACME Ltd")] {
            let created = generate(Some("partner-a"), consumer).unwrap();
            assert!(created.secret.starts_with(PREFIX) && created.secret.len() == PREFIX.len() + 43);
            let text = format!(
                "[listen.a]\naddress = \"[::]:80\"\n[auth.partners]\napi-key = \"X-API-Key\"\n{}\n",
                created.line
            );
            let config = crate::config::tests::load_ok(&text);
            let crate::config::model::AuthKind::ApiKey(keys) = &config.auth[0].kind else { panic!() };
            let digest = digest::digest(&digest::SHA256, created.secret.as_bytes());
            assert_eq!(keys.keys[0].sha256, digest.as_ref());
            assert_eq!(&*keys.keys[0].consumer, consumer.unwrap_or("partner-a"));
        }
    }

    #[test]
    fn two_keys_differ_and_names_that_would_break_the_line_are_refused() {
        assert_ne!(generate(None, None).unwrap().secret, generate(None, None).unwrap().secret);
        assert!(id("a b").is_err() && id("").is_err() && consumer("x\" }").is_err());
    }
}
