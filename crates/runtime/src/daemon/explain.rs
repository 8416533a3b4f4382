//! What this director would do with a packet, for `ulvs explain`: asked of the worker that would deal with it.

use std::collections::HashMap;
use std::sync::Arc;

use control::explain::fault;
use director::director::Director;
use director::explain::Question;
use packet::Packet;

use super::ask::ask;
use super::control::Control;
use crate::worker::{Handle, Marks, worker_of};

impl Control {
    /// The answer to a question, or the sentence that says what is wrong with it.
    pub(super) fn explain(&self, question: &str) -> String {
        let question: Question = match question.parse() {
            Ok(question) => question,
            Err(error) => return fault(&format!("{error}")),
        };
        let worker = match self.worker_for(&question) {
            Ok(worker) => worker,
            Err(sentence) => return fault(&sentence),
        };
        let names: HashMap<u32, String> = (self.links.iter())
            .map(|(index, name)| (index, name.to_owned()))
            .collect();
        let marks = Marks::new(Arc::clone(&self.settings.marks), names);
        let now = self.clock.now();
        // The worker gives out what it has, and goes on.
        let excerpt = ask(worker, move |director| {
            director.refresh();
            let mark = |interface, packet: &Packet<'_>| marks.of(interface, packet);
            director.excerpt(now, &question, mark)
        });
        match excerpt {
            Some(Ok(excerpt)) => excerpt.explain().to_string(),
            Some(Err(error)) => fault(&error.to_string()),
            None => fault("the worker does not answer"),
        }
    }

    /// The worker that the packet would come to: by the workers' own rule; a later fragment to the one that has the first.
    ///
    /// # Errors
    /// A sentence: the packet can arrive nowhere, or there is no worker any more.
    fn worker_for(&self, question: &Question) -> Result<&Handle, String> {
        let network = self.host.network.load_full();
        let interface = question.arrival(&network);
        let interface = interface.map_err(|error| error.to_string())?;
        let link_len = interface.link_len;
        let mut octets = question.frame(interface, |_| false);
        let end = octets.len();
        let packet = Packet::new(&mut octets, 0..end, link_len);
        let workers = self.workers.len();
        let steering = self.steering();
        let index = worker_of(&steering, workers, &self.shared.owners, &packet);
        let has_first = |worker: &&Handle| {
            let mut octets = packet.bytes().to_vec();
            let first = move |director: &mut Director| {
                let packet = Packet::new(&mut octets, 0..end, link_len);
                director.has_first_of(&packet)
            };
            ask(worker, first) == Some(true)
        };
        let worker = match index {
            Some(index) => self.workers.get(index),
            None => self.workers.iter().find(has_first),
        };
        let worker = worker.or_else(|| self.workers.first());
        worker.ok_or_else(|| "the director is ending".to_owned())
    }
}
