//! The words of a SQL text, as far as it takes to see what kind of statements it holds.
//!
//! This is no parser: comments and quoted texts are passed over, names are compared in capitals.

/// A piece of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// A keyword, a name or a number, in capitals, without its quotes.
    Word(String),
    /// Any other character outside quoted texts.
    Symbol(char),
}

/// The statements of `text`, without empty ones.
pub fn statements(text: &str) -> Vec<Vec<Token>> {
    let mut statements = vec![Vec::new()];
    for token in tokens(text) {
        if token == Token::Symbol(';') {
            statements.push(Vec::new());
        } else if let Some(statement) = statements.last_mut() {
            statement.push(token);
        }
    }
    statements.retain(|statement| !statement.is_empty());
    statements
}

/// The word at `index`, or nothing.
pub fn word(statement: &[Token], index: usize) -> &str {
    match statement.get(index) {
        Some(Token::Word(word)) => word,
        _ => "",
    }
}

fn tokens(text: &str) -> Vec<Token> {
    let characters: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut rest = characters.as_slice();
    while let Some((&first, tail)) = rest.split_first() {
        rest = match (first, tail.first()) {
            ('-', Some('-')) => after(rest, &['\n']),
            ('/', Some('*')) => after(&rest[2..], &['*', '/']),
            ('\'', _) => after(tail, &['\'']),
            ('$', _) if dollar_quote(rest).is_some() => {
                let quote = dollar_quote(rest).unwrap_or_default();
                after(&rest[quote.len()..], quote)
            }
            ('"', _) => {
                let end = tail.iter().position(|character| *character == '"').unwrap_or(tail.len());
                tokens.push(Token::Word(tail[..end].iter().collect::<String>().to_uppercase()));
                tail.get(end + 1..).unwrap_or_default()
            }
            _ if is_word(first) => {
                let end = rest.iter().position(|character| !is_word(*character)).unwrap_or(rest.len());
                tokens.push(Token::Word(rest[..end].iter().collect::<String>().to_uppercase()));
                &rest[end..]
            }
            _ if first.is_whitespace() => tail,
            _ => {
                tokens.push(Token::Symbol(first));
                tail
            }
        };
    }
    tokens
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// What follows the first `end`.
fn after<'a>(text: &'a [char], end: &[char]) -> &'a [char] {
    let position = text.windows(end.len()).position(|window| window == end);
    position.map_or(&[], |position| &text[position + end.len()..])
}

/// `$$` or `$tag$`, if `text` begins with one.
fn dollar_quote(text: &[char]) -> Option<&[char]> {
    let end = 1 + text.get(1..)?.iter().position(|character| !is_word(*character))?;
    let is_tag = text[end] == '$' && !text[1].is_ascii_digit();
    is_tag.then(|| &text[..=end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Vec<String>> {
        let word = |token: &Token| match token {
            Token::Word(word) => word.clone(),
            Token::Symbol(symbol) => symbol.to_string(),
        };
        statements(text).iter().map(|statement| statement.iter().map(word).collect()).collect()
    }

    #[test]
    fn statements_end_at_a_semicolon() {
        assert_eq!(words("begin;; SELECT 1 ;"), [vec!["BEGIN"], vec!["SELECT", "1"]]);
        assert!(words(" ; -- nothing").is_empty());
    }

    #[test]
    fn quoted_texts_and_comments_are_passed_over() {
        assert_eq!(words("a 'x;''y' b"), [["A", "B"]]);
        assert_eq!(words("a /* ; */ b -- ; c\nd"), [["A", "B", "D"]]);
        assert_eq!(words("a $$ ; $$ b $t$ ; $$ $t$ c"), [["A", "B", "C"]]);
        assert_eq!(words("execute p($1); b"), [vec!["EXECUTE", "P", "(", "$", "1", ")"], vec!["B"]]);
        assert_eq!(words("a 'never ends; b"), [["A"]]);
    }

    #[test]
    fn a_quoted_name_is_a_word() {
        assert_eq!(words("use \"My;Name\".t"), [["USE", "MY;NAME", ".", "T"]]);
    }
}
