//! nftables netlink messages (linux/netfilter/nf_tables.h): what the guard needs, written out.

/// A batch of messages that the kernel carries out as one.
#[derive(Debug)]
pub(super) struct Batch {
    octets: Vec<u8>,
    table: String,
    sequence: u32,
}

/// One step of a rule. Registers are numbered as `NFT_REG32_00` = 8 and up.
#[derive(Clone, Debug)]
pub(super) enum Expression {
    /// Register = EtherType, without tags.
    EtherType(u32),
    /// Register = upper-layer protocol; packets without one do not match.
    Protocol(u32),
    /// On only if the register holds these octets.
    Equal(u32, Vec<u8>),
    /// Register = octets (offset, length) from the network header.
    Network(u32, u32, u32),
    /// Register = octets (offset, length) from the transport header; fragments without one do not
    /// match.
    Transport(u32, u32, u32),
    /// Register = octets of the register and a mask.
    Mask(u32, Vec<u8>),
    /// Register = constant.
    Constant(u32, Vec<u8>),
    /// On only if the register's octets are (or, inverted, are not) in the set.
    Lookup {
        set: String,
        register: u32,
        inverted: bool,
    },
    /// On with the rules of another chain, and back where none of them drops.
    Jump(String),
    /// Counts the packet.
    Count,
    /// Drops it.
    Drop,
}

// nfnetlink and nf_tables message types
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const SUBSYSTEM: u16 = 10;
const NEW_TABLE: u16 = SUBSYSTEM << 8;
const DELETE_TABLE: u16 = SUBSYSTEM << 8 | 2;
const NEW_CHAIN: u16 = SUBSYSTEM << 8 | 3;
const NEW_RULE: u16 = SUBSYSTEM << 8 | 6;
const NEW_SET: u16 = SUBSYSTEM << 8 | 9;
const NEW_SET_ELEMENT: u16 = SUBSYSTEM << 8 | 12;
const DELETE_SET_ELEMENT: u16 = SUBSYSTEM << 8 | 14;

// netlink flags
const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;

/// `NFPROTO_NETDEV`.
const NETDEV: u8 = 5;
/// `NFT_TABLE_F_OWNER`.
const TABLE_OWNER: u32 = 2;
/// Ahead of everything else on the hook.
const PRIORITY: i32 = -500;
/// The chain on the hook.
pub(super) const INGRESS: &str = "ingress";
/// `NLMSG_ERROR`: an acknowledgement or a refusal.
const ERROR: u16 = 2;
/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// Says that an attribute holds attributes.
const NESTED: u16 = 0x8000;

/// Attributes being written.
#[derive(Debug, Default)]
struct Attributes(Vec<u8>);

impl Attributes {
    fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        // Callers keep values below 64 KiB.
        let len = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.0.extend(len.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    fn text(self, kind: u16, value: &str) -> Self {
        self.bytes(kind, &[value.as_bytes(), &[0]].concat())
    }

    fn number(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    fn nested(self, kind: u16, value: &Self) -> Self {
        self.bytes(kind | NESTED, &value.0)
    }
}

fn attributes() -> Attributes {
    Attributes::default()
}

impl Batch {
    /// An empty batch about a table; `sequence` is the last number used.
    pub(super) fn new(table: &str, sequence: u32) -> Self {
        let mut batch = Self {
            octets: Vec::new(),
            table: table.to_owned(),
            sequence,
        };
        batch.message(BATCH_BEGIN, REQUEST, 0, SUBSYSTEM, &attributes());
        batch
    }

    /// The batch as one datagram, and the last sequence number used.
    pub(super) fn finish(mut self) -> (Vec<u8>, u32) {
        self.message(BATCH_END, REQUEST, 0, SUBSYSTEM, &attributes());
        (self.octets, self.sequence)
    }

    fn message(&mut self, kind: u16, flags: u16, family: u8, resource: u16, body: &Attributes) {
        self.sequence = self.sequence.wrapping_add(1);
        let len = u32::try_from(HEADER + 4 + body.0.len()).unwrap_or(u32::MAX);
        self.octets.extend(len.to_ne_bytes());
        self.octets.extend(kind.to_ne_bytes());
        self.octets.extend(flags.to_ne_bytes());
        self.octets.extend(self.sequence.to_ne_bytes());
        self.octets.extend([0; 4]);
        self.octets.extend([family, 0]);
        self.octets.extend(resource.to_be_bytes());
        self.octets.extend(&body.0);
    }

    fn about_table(&mut self, kind: u16, flags: u16, body: &Attributes) {
        self.message(kind, REQUEST | ACKNOWLEDGE | flags, NETDEV, 0, body);
    }

    pub(super) fn new_table(&mut self) {
        let body = attributes().text(1, &self.table).number(2, TABLE_OWNER);
        self.about_table(NEW_TABLE, CREATE, &body);
    }

    pub(super) fn delete_table(&mut self) {
        let body = attributes().text(1, &self.table);
        self.about_table(DELETE_TABLE, 0, &body);
    }

    /// A chain on ingress of the interfaces, which lets pass what its rules do not drop.
    pub(super) fn new_chain(&mut self, interfaces: &[&str]) {
        let devices = interfaces
            .iter()
            .fold(attributes(), |all, name| all.text(1, name));
        let hook = attributes()
            .number(1, 0)
            .bytes(2, &PRIORITY.to_be_bytes())
            .nested(4, &devices);
        let body = attributes()
            .text(1, &self.table)
            .text(3, INGRESS)
            .nested(4, &hook)
            .number(5, 1)
            .text(7, "filter");
        self.about_table(NEW_CHAIN, CREATE, &body);
    }

    /// A chain to jump to.
    pub(super) fn new_inner_chain(&mut self, name: &str) {
        let body = attributes().text(1, &self.table).text(3, name);
        self.about_table(NEW_CHAIN, CREATE, &body);
    }

    /// A set of keys of `len` octets; `kind` is the type that `nft` shows.
    pub(super) fn new_set(&mut self, name: &str, len: u32, kind: u32) {
        let body = attributes()
            .text(1, &self.table)
            .text(2, name)
            .number(3, 0)
            .number(4, kind)
            .number(5, len)
            // Unique in the batch.
            .number(10, self.sequence);
        self.about_table(NEW_SET, CREATE, &body);
    }

    pub(super) fn add_elements(&mut self, set: &str, elements: &[Vec<u8>]) {
        self.elements(NEW_SET_ELEMENT, CREATE, set, elements);
    }

    pub(super) fn delete_elements(&mut self, set: &str, elements: &[Vec<u8>]) {
        self.elements(DELETE_SET_ELEMENT, 0, set, elements);
    }

    fn elements(&mut self, kind: u16, flags: u16, set: &str, elements: &[Vec<u8>]) {
        let list = elements.iter().fold(attributes(), |list, element| {
            let key = attributes().nested(1, &attributes().bytes(1, element));
            list.nested(1, &key)
        });
        let body = attributes()
            .text(1, &self.table)
            .text(2, set)
            .nested(3, &list);
        self.about_table(kind, flags, &body);
    }

    pub(super) fn new_rule(&mut self, chain: &str, expressions: &[Expression]) {
        let list = expressions.iter().fold(attributes(), |list, expression| {
            let (name, data) = expression.encode();
            list.nested(1, &attributes().text(1, name).nested(2, &data))
        });
        let body = attributes()
            .text(1, &self.table)
            .text(2, chain)
            .nested(4, &list);
        self.about_table(NEW_RULE, CREATE | APPEND, &body);
    }
}

impl Expression {
    /// The expression's name and its attributes.
    fn encode(&self) -> (&'static str, Attributes) {
        let payload = |base, register: u32, offset: u32, len: u32| {
            let data = attributes().number(1, register).number(2, base);
            ("payload", data.number(3, offset).number(4, len))
        };
        match self {
            Self::EtherType(register) => ("meta", attributes().number(1, *register).number(2, 1)),
            Self::Protocol(register) => ("meta", attributes().number(1, *register).number(2, 16)),
            Self::Equal(register, value) => {
                let value = attributes().bytes(1, value);
                (
                    "cmp",
                    attributes()
                        .number(1, *register)
                        .number(2, 0)
                        .nested(3, &value),
                )
            }
            Self::Network(register, offset, len) => payload(1, *register, *offset, *len),
            Self::Transport(register, offset, len) => payload(2, *register, *offset, *len),
            Self::Constant(register, value) => {
                let value = attributes().bytes(1, value);
                (
                    "immediate",
                    attributes().number(1, *register).nested(2, &value),
                )
            }
            Self::Lookup {
                set,
                register,
                inverted,
            } => {
                let data = attributes().text(1, set).number(2, *register);
                ("lookup", data.number(5, u32::from(*inverted)))
            }
            Self::Mask(register, mask) => {
                let len = u32::try_from(mask.len()).unwrap_or(0);
                let data = attributes().number(1, *register).number(2, *register);
                let nothing = attributes().bytes(1, &vec![0; mask.len()]);
                let mask = attributes().bytes(1, mask);
                (
                    "bitwise",
                    data.number(3, len).nested(4, &mask).nested(5, &nothing),
                )
            }
            Self::Jump(chain) => {
                // NFT_JUMP is -3.
                let verdict = attributes()
                    .bytes(1, &(-3_i32).to_be_bytes())
                    .text(2, chain);
                let verdict = attributes().nested(2, &verdict);
                ("immediate", attributes().number(1, 0).nested(2, &verdict))
            }
            Self::Count => ("counter", attributes()),
            Self::Drop => {
                // Register 0 is the verdict, NF_DROP is 0.
                let verdict = attributes().nested(2, &attributes().number(1, 0));
                ("immediate", attributes().number(1, 0).nested(2, &verdict))
            }
        }
    }
}

/// The errnos of all acknowledgements in a datagram; 0 is success.
pub(super) fn answers(datagram: &[u8]) -> Vec<i32> {
    let mut errnos = Vec::new();
    let mut rest = datagram;
    while let Some((len, message)) = rest.split_first_chunk::<4>() {
        let len = usize::try_from(u32::from_ne_bytes(*len)).unwrap_or(usize::MAX);
        let kind = message.first_chunk().map(|kind| u16::from_ne_bytes(*kind));
        let errno = rest.get(HEADER..).and_then(<[u8]>::first_chunk);
        if let (Some(ERROR), Some(errno)) = (kind, errno) {
            errnos.push(i32::from_ne_bytes(*errno).wrapping_neg());
        }
        match rest.get(len.next_multiple_of(4).max(HEADER)..) {
            Some(next) => rest = next,
            None => break,
        }
    }
    errnos
}
