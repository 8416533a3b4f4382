//! How `ulvs explain` asks a running director: by a text whose name holds the question.
//!
//! The answer's lines are a topic, a tabulator and a sentence ([`director::explain::Explanation`]); a question without an
//! answer has the one line [`FAULT`].

/// What the names of such texts begin with.
const PREFIX: &str = "explain ";
/// Topic of the sentence that says what is wrong with a question.
pub const FAULT: &str = "fault";
/// Octets of the longest frame that fits into a question.
pub const FRAME_MAX: usize = 9500;

/// The text's name for a question ([`director::explain::Question`]).
#[must_use]
pub fn request_name(question: &str) -> String {
    format!("{PREFIX}{question}")
}

/// The question in a text's name, if it is one.
#[must_use]
pub fn question_in(name: &str) -> Option<&str> {
    name.strip_prefix(PREFIX)
}

/// The answer to a question that has none.
#[must_use]
pub fn fault(sentence: &str) -> String {
    format!("{FAULT}\t{sentence}\n")
}
