//! What this director would do with a packet, for `ulvs explain`: asked of the worker that has the connection.

use std::collections::HashMap;
use std::sync::Arc;

use control::explain::fault;
use director::explain::Question;

use super::ask::ask;
use super::control::Control;
use crate::worker::Marks;

impl Control {
    /// The answer to a question, or the sentence that says what is wrong with it.
    pub(super) fn explain(&self, question: &str) -> String {
        let question: Question = match question.parse() {
            Ok(question) => question,
            Err(error) => return fault(&format!("{error}")),
        };
        let question = Arc::new(question);
        let knows = |worker: &&crate::worker::Handle| {
            let question = Arc::clone(&question);
            ask(worker, move |director| director.knows(&question)) == Some(true)
        };
        let worker = self.workers.iter().find(knows);
        let Some(worker) = worker.or_else(|| self.workers.first()) else {
            return fault("the director is ending");
        };
        let names: HashMap<u32, String> = (self.links.iter())
            .map(|(index, name)| (index, name.to_owned()))
            .collect();
        let marks = Marks::new(Arc::clone(&self.settings.marks), names);
        let now = self.clock.now();
        let answer = ask(worker, move |director| {
            director.refresh();
            let mark = |interface, packet: &packet::Packet<'_>| marks.of(interface, packet);
            match director.explain(now, &question, mark) {
                Ok(explanation) => explanation.to_string(),
                Err(error) => fault(&error.to_string()),
            }
        });
        answer.unwrap_or_else(|| fault("the worker does not answer"))
    }
}
