//! Matches topics against URI Templates (RFC 6570): a topic matches if the template can expand to it. Older
//! versions of Mercure used URI Templates instead of URL Patterns. Any client can send a template, so its
//! compiled size is bounded, and matching takes linear time.

use std::{fmt, sync::LazyLock};

use thiserror::Error;

use super::bounded_regex::BoundedRegex;

/// Matches a text that is a template (RFC 6570, section 2) with at least one expression in braces. Outside
/// the braces, the RFC allows only some characters. Here, any character except a brace may occur, because it
/// is compared byte by byte.
static TEMPLATE: LazyLock<BoundedRegex> = LazyLock::new(|| {
    let variable = "(?:[A-Za-z0-9_.]|%[0-9A-Fa-f]{2})+(?::[1-9][0-9]{0,3}|[*])?";
    let template = format!("^(?:[^{{}}]*[{{][+#./;?&]?{variable}(?:,{variable})*[}}])+[^{{}}]*$");
    BoundedRegex::parse(&template, MAX_BYTES).expect("this is a regular expression")
});

/// Maximum compiled size of a template in bytes. A template that needs more is refused. Even a short template
/// can need much: `{id:100}` compiles to about 40 KiB.
const MAX_BYTES: usize = 128 << 10;

/// A compiled template: a regular expression that matches each text to which the template can expand. It also
/// matches some texts to which the template cannot expand (see [`values_of`]).
pub(crate) struct UriTemplate(BoundedRegex);

/// Why a text is not compiled as a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum NoTemplate {
    #[error("it contains no expression, or a malformed one")]
    Plain,
    #[error("it is too complex")]
    TooComplex,
}

/// How the operator of an expression expands the variables (RFC 6570, section 3.2.1 and appendix A). In
/// `{?x,y}`, the operator is `?`.
struct Operator {
    /// Text before the first value, such as `?`. Some operators have none.
    first: &'static str,
    /// Text between two values, such as `&`.
    separator: &'static str,
    /// Whether the name of the variable is written before each value.
    named: bool,
    /// Whether reserved characters are written without percent-encoding.
    reserved: bool,
}

impl Operator {
    /// Splits an expression into its operator and the list of variables after it. Without an operator, values
    /// are separated by commas.
    fn of(expression: &str) -> (Self, &str) {
        let (first, separator, named, reserved) = match expression.as_bytes().first() {
            Some(b'+') => ("", ",", false, true),
            Some(b'#') => ("#", ",", false, true),
            Some(b'.') => (".", ".", false, false),
            Some(b'/') => ("/", "/", false, false),
            Some(b';') => (";", ";", true, false),
            Some(b'?') => ("?", "&", true, false),
            Some(b'&') => ("&", "&", true, false),
            _ => ("", ",", false, false),
        };
        let is_written = named || reserved || !first.is_empty();
        let operator = Self {
            first,
            separator,
            named,
            reserved,
        };
        (operator, &expression[usize::from(is_written)..])
    }
}

/// A variable in an expression, with its modifiers (`*` or `:` and a number).
struct Variable<'a> {
    name: &'a str,
    /// Whether the variable has the modifier `*`, which writes each element of a list as a separate value.
    exploded: bool,
    /// Maximum number of characters of the value, as decimal text. `None`: no limit.
    prefix: Option<&'a str>,
}

impl<'a> Variable<'a> {
    fn parse(text: &'a str) -> Self {
        let (name, prefix) = match text.split_once(':') {
            Some((name, prefix)) => (name, Some(prefix)),
            None => (text, None),
        };
        let (name, exploded) = match name.strip_suffix('*') {
            Some(name) => (name, true),
            None => (name, false),
        };
        Self {
            name,
            exploded,
            prefix,
        }
    }
}

impl UriTemplate {
    pub(crate) fn parse(text: &str) -> Result<Self, NoTemplate> {
        if !TEMPLATE.is_match(text) {
            return Err(NoTemplate::Plain);
        }
        let mut expansions = String::from("^");
        let mut rest = text;
        while let Some((literal, (expression, after))) = rest
            .split_once('{')
            .and_then(|(literal, rest)| Some((literal, rest.split_once('}')?)))
        {
            expansions += &regex_syntax::escape(literal);
            expansions += &values_of(expression);
            rest = after;
        }
        expansions += &regex_syntax::escape(rest);
        expansions += "$";
        let regex =
            BoundedRegex::parse(&expansions, MAX_BYTES).map_err(|_| NoTemplate::TooComplex)?;
        Ok(Self(regex))
    }

    /// Approximate maximum memory of the compiled template in bytes, counting a full match cache.
    pub(crate) fn bytes(&self) -> usize {
        self.0.bytes()
    }

    /// Whether the template can expand to this text. Also `true` for some texts to which it cannot expand
    /// (see [`values_of`]).
    pub(crate) fn matches(&self, topic: &str) -> bool {
        self.0.is_match(topic)
    }
}

/// A regular expression that matches what an expression can expand to: the empty text, or the values of some
/// of its variables. It also matches some texts to which the expression cannot expand, such as those with the
/// variables in another order or with a variable more than once.
fn values_of(expression: &str) -> String {
    let (operator, variables) = Operator::of(expression);
    let [first, separator] = [operator.first, operator.separator].map(regex_syntax::escape);
    let variables: Vec<_> = variables
        .split(',')
        .map(|variable| value_of(&Variable::parse(variable), &operator, &separator))
        .collect();
    let value = variables.join("|");
    let further = variables.len() - 1;
    format!("(?:{first}(?:{value})(?:{separator}(?:{value})){{0,{further}}})?")
}

/// A regular expression that matches what one variable can expand to if it has a value.
fn value_of(variable: &Variable<'_>, operator: &Operator, separator: &str) -> String {
    const UNRESERVED: &str = r"\-.0-9A-Z_a-z~";
    const RESERVED: &str = r"!#$&-,/:;=?@\[\]";
    const ENCODED: &str = "%[[:xdigit:]]{2}";
    let class = if operator.reserved {
        format!("{UNRESERVED}{RESERVED}")
    } else {
        UNRESERVED.to_owned()
    };
    let character = format!("(?:[{class}]|{ENCODED})");
    // Without `*`, commas separate the elements of lists and associations (key-value pairs). With `*`, an
    // association has `=` between key and value.
    let value = match variable.prefix {
        // `max` counts characters, and one character may need up to four percent-encoded bytes.
        Some(max) => format!("(?:[{class}]|(?:{ENCODED}){{1,4}}){{0,{max}}}"),
        None => format!("(?:[{class},]|{ENCODED})*"),
    };
    let name = regex_syntax::escape(variable.name);
    match (operator.named, variable.exploded) {
        (true, false) => format!("{name}(?:={value})?"),
        // The value may be an association (key-value pairs), whose keys replace the name of the variable. So
        // the expression accepts any name.
        (true, true) => {
            let pair = format!("{character}*(?:={character}*)?");
            format!("{pair}(?:{separator}{pair})*")
        }
        (false, true) => {
            let pair = format!("(?:[{class}=]|{ENCODED})*");
            format!("{pair}(?:{separator}{pair})*")
        }
        (false, false) => value,
    }
}

impl fmt::Debug for UriTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UriTemplate")
    }
}

#[cfg(test)]
mod tests {
    use iri_string::{
        spec::UriSpec,
        template::{
            UriTemplateStr,
            simple_context::{SimpleContext, Value},
        },
    };
    use proptest::prelude::*;

    use super::*;

    fn matches(template: &str, topic: &str) -> bool {
        UriTemplate::parse(template).unwrap().matches(topic)
    }

    #[test]
    fn a_template_matches_the_texts_to_which_it_can_expand() {
        for (template, topic) in [
            (
                "https://example.com/books/{id}",
                "https://example.com/books/1",
            ),
            (
                "https://example.com/books/{id}",
                "https://example.com/books/",
            ),
            (
                "https://example.com/books/{id}",
                "https://example.com/books/%C3%A9",
            ),
            ("https://example.com/{a}/{b}", "https://example.com/1/2"),
            ("{+base}/books", "https://example.com/books"),
            ("{x,y}", "1,2"),
            ("{x,y}", ""),
            ("/a{#x}", "/a#b/c?d"),
            ("/a{.x}", "/a.json"),
            ("/a{/x,y}", "/a/b/c"),
            ("/a{/x*}", "/a/b/c/d"),
            ("/a{;x,y}", "/a;x=1;y"),
            ("/a{?x,y}", "/a?x=1&y="),
            ("/a{?x,y}", "/a?y=2"),
            ("/a{?x*}", "/a?any=1&thing=2"),
            ("/a?z{&x}", "/a?z&x=1"),
            ("/a{x:3}", "/aabc"),
            ("/a{x*}", "/ab=1,c=2"),
            ("/.*{x}", "/.*1"),
        ] {
            assert!(matches(template, topic), "{template} {topic}");
        }
    }

    #[test]
    fn a_template_does_not_match_other_texts() {
        for (template, topic) in [
            (
                "https://example.com/books/{id}",
                "https://example.com/books/1/2",
            ),
            (
                "https://example.com/books/{id}",
                "https://example.com/books/1?q",
            ),
            (
                "https://example.com/books/{id}",
                "https://example.com/Books/1",
            ),
            (
                "https://example.com/books/{id}",
                "xhttps://example.com/books/1",
            ),
            (
                "https://example.com/books/{id}",
                "https://example.com/books/1\n",
            ),
            (
                "https://example.com/books/{id}",
                "https://example.com/books/%zz",
            ),
            (
                "https://example.com/books/{id}",
                "https://example.com/books/{id}",
            ),
            (
                "https://example.com/books/{id}",
                "https://exampleXcom/books/1",
            ),
            ("/a{.x}", "/a/b"),
            ("/a{/x,y}", "/a/b/c/d"),
            ("/a{?x}", "/a?y=1"),
            ("/a{?x}", "/a?x=1&x=2"),
            ("/a{x:3}", "/aabcd"),
            ("{x,y}", "1/2"),
        ] {
            assert!(!matches(template, topic), "{template} {topic}");
        }
    }

    #[test]
    fn plain_text_and_a_too_complex_template_have_different_errors() {
        for text in [
            "", "/a", "/{", "/{}", "/{x", "/{=x}", "/{x y}", "/{x:}", "}{",
        ] {
            let parsed = UriTemplate::parse(text);
            assert_eq!(parsed.err(), Some(NoTemplate::Plain), "{text}");
        }
        let many = format!("{{{}}}", vec!["x"; 500].join(","));
        for text in ["/{x:9999}", &"{x}".repeat(1000), &many] {
            let parsed = UriTemplate::parse(text);
            assert_eq!(parsed.err(), Some(NoTemplate::TooComplex), "{text}");
        }
    }

    // Values have only ASCII characters without `%`. With other characters, `iri_string` panics when it
    // expands an operator that keeps reserved characters.
    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            "[ -$&-~]{0,6}".prop_map(Value::String),
            prop::collection::vec("[ -$&-~]{0,4}", 0..4).prop_map(Value::List),
            prop::collection::vec(("[ -$&-~]{1,4}", "[ -$&-~]{0,4}"), 0..4).prop_map(Value::Assoc),
        ]
    }

    proptest! {
        #[test]
        fn every_expansion_by_another_library_matches_the_template(
            template in "[a-z/.]{0,4}(\\{[+#./;?&]?[xyz](:[1-9]|\\*)?(,[xyz]\\*?){0,2}\\}[a-z/.]{0,4}){1,3}",
            values in prop::collection::hash_map("[xyz]", value(), 0..4),
        ) {
            let mut context = SimpleContext::new();
            for (name, value) in &values {
                context.insert(name, value.clone());
            }
            let expanded = UriTemplateStr::new(&template).unwrap().expand::<UriSpec, _>(&context);
            // `iri_string` refuses a prefix modifier on a list or an association.
            if let Ok(expanded) = expanded {
                let topic = expanded.to_string();
                prop_assert!(matches(&template, &topic), "{} {}", template, topic);
            }
        }

        #[test]
        fn parsing_any_text_does_not_panic(text in "[{}a-z+#./;?&,:*0-9%]{0,40}|\\PC{0,20}") {
            let _ = UriTemplate::parse(&text);
        }
    }
}
