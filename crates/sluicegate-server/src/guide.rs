//! The guide of the gateway: a chapter a task. Every configuration in it is read by a test, every mistake in it is shown as
//! there, and its examples are compiled and run; so are its scripts, by the tests of the real binary.

#[doc = include_str!("../guide/configuration.md")]
pub mod configuration {}

#[doc = include_str!("../guide/refusals.md")]
pub mod refusals {}

#[doc = include_str!("../guide/commands.md")]
pub mod commands {}

#[cfg(test)]
mod tests {
    use crate::config::explain::{Asked, explain};
    use crate::config::parse;
    use std::path::Path;

    const CHAPTER: &str = include_str!("../guide/configuration.md");

    /// The fenced blocks: what stands behind the fence, and the text.
    fn blocks() -> Vec<(&'static str, &'static str)> {
        let mut parts = CHAPTER.split("```").skip(1);
        let mut blocks = Vec::new();
        while let (Some(block), Some(_)) = (parts.next(), parts.next()) {
            blocks.push(block.split_once('\n').expect("a fence stands alone on its line"));
        }
        blocks
    }

    #[test]
    fn the_files_are_right_and_the_mistakes_are_shown_as_they_are() {
        let blocks = blocks();
        let (mut right, mut wrong) = (0, 0);
        for (at, (fence, text)) in blocks.iter().enumerate() {
            let parsed = parse(Path::new("gateway.toml"), text);
            match *fence {
                "toml" => {
                    let config = parsed.unwrap_or_else(|error| panic!("{text}{}", error.render(false)));
                    assert_eq!(config.warnings.count(), 0, "{}", config.warnings);
                    right += 1;
                }
                "toml,wrong" => {
                    let shown = parsed.expect_err("a mistake is shown").render(false);
                    assert_eq!(blocks[at + 1], ("text", format!("{shown}\n").as_str()), "{text}");
                    wrong += 1;
                }
                fence => assert_eq!(fence, "text"),
            }
        }
        assert_eq!((right, wrong), (18, 2));
    }

    #[test]
    fn the_explanation_is_that_of_the_login() {
        let blocks = blocks();
        let (_, file) = blocks.iter().find(|(_, text)| text.contains("client.ip 5/m")).unwrap();
        let (_, shown) = blocks.iter().find(|(_, text)| text.contains("sluicegate explain")).unwrap();
        let settings = parse(Path::new("gateway.toml"), file).unwrap().settings;
        let asked = |method| Asked {
            method,
            host: String::new(),
            path: "/login".to_owned(),
            headers: http::HeaderMap::new(),
            peer: [192, 0, 2, 1].into(),
            tls: false,
        };
        let explanation = explain(&settings, &asked(http::Method::POST)).to_string();
        assert_eq!(shown.split_once('\n').unwrap().1, explanation);
        let other = explain(&settings, &asked(http::Method::GET)).to_string();
        assert!(other.contains("not       login: the method is not POST\n"), "{other}");
    }
}
