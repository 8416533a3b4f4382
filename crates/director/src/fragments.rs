//! Fragments on their way through the director: kept until their datagram is whole, and counted.

use packet::Fragment;

use crate::cut::Pieces;
use crate::director::{Batch, Datagram, Ingress, Worker};
use crate::frame::{Frame, Output};
use crate::reassembly::Progress;
use crate::verdict::{DropReason, Verdict};

impl Worker {
    /// A fragment: kept until its datagram is whole.
    pub(crate) fn fragment<'a>(
        &mut self,
        batch: &Batch<'_>,
        datagram: &mut Datagram<'a, '_>,
        fragment: Fragment,
        output: &mut Output<'a>,
    ) -> Verdict {
        let Datagram {
            frame,
            headers,
            ingress,
            ..
        } = datagram;
        let progress = self
            .reassembly
            .add(batch.now, ingress.mark, frame, headers, fragment);
        self.count_fragments();
        match progress {
            Progress::Incomplete => Verdict::Held,
            Progress::Invalid => Verdict::Drop(DropReason::Reassembly),
            Progress::Complete(mut whole) => match whole.frame.headers() {
                Err(malformed) => Verdict::Drop(DropReason::Malformed(malformed)),
                Ok(mut headers) => {
                    let frame = Frame::Owned(whole.frame);
                    let mark = whole.mark;
                    let ingress = Ingress { mark, ..*ingress };
                    let mut datagram = Datagram {
                        frame,
                        pieces: Pieces::of(&headers, &whole.pieces),
                        headers: &mut headers,
                        ingress,
                    };
                    self.datagram(batch, &mut datagram, output)
                }
            },
        }
    }

    /// Counts what became of the fragments that were kept.
    pub(crate) fn count_fragments(&mut self) {
        let kept = self.reassembly.take_kept();
        self.counters.fragments.taken += kept.taken;
        self.counters.fragments.released += kept.released;
        self.counters.fragments.dropped += kept.dropped;
        self.counters.dropped[DropReason::Reassembly.index()] += kept.dropped;
    }
}
