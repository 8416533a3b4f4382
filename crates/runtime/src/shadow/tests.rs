//! What becomes of news that the thread cannot take.

use std::net::{IpAddr, Ipv4Addr};

use control::state::DesiredState;
use director::connection::{Connection, ConnectionId, HashKind, NewConnection, Table, TableConfig};
use director::destination::Method;
use director::observer::{Asked, Choice};
use director::protocol::Protocol;
use director::scheduler::Flow;
use director::shared::Options;

use super::*;

pub(super) const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 8, 0, 1));
const SERVER: (IpAddr, u16) = (IpAddr::V4(Ipv4Addr::new(10, 2, 0, 11)), 80);

/// Names of connections, as a table gives them.
pub(super) fn ids(count: u16) -> Vec<ConnectionId> {
    let mut table = Table::new(&TableConfig {
        max_connections: 1000,
        hash: HashKind::default(),
        seed: [1, 2],
    });
    let mut insert = |port| {
        let connection = Connection::new(NewConnection {
            protocol: Protocol::Tcp,
            client: (Ipv4Addr::new(192, 0, 2, 1).into(), port),
            virtual_server: (VIP, 80),
            server: SERVER,
            destination: None,
            template: None,
            method: Method::DirectRoute,
            mark: 0,
            client_interface: 1,
            client_vlan: 0,
        });
        table
            .insert(connection, director::time::Instant::START)
            .unwrap()
    };
    (0..count).map(|number| insert(1024 + number)).collect()
}

/// What a client asks for, from this port to that one.
fn flow(protocol: Protocol, source_port: u16, destination_port: u16) -> Flow {
    Flow {
        protocol,
        source: Ipv4Addr::new(192, 0, 2, 1).into(),
        source_port,
        destination: VIP,
        destination_port,
    }
}

const fn asked<'a>(flow: &'a Flow, mark: u32, data: Option<&'a [u8]>) -> Asked<'a> {
    Asked {
        flow,
        mark,
        data,
        now: director::time::Instant::START,
    }
}

fn make(teller: &mut dyn Observer, id: ConnectionId) {
    make_quietly(teller, id);
    teller.batch_done();
}

/// The same amid a batch.
fn make_quietly(teller: &mut dyn Observer, id: ConnectionId) {
    let flow = flow(Protocol::Tcp, 1024, 80);
    let asked = asked(&flow, 0, None);
    teller.asked(&asked, Choice::Made(id, SERVER));
}

/// Whatever the length of a batch, each list says at what time its connections were made.
#[test]
fn lists_begin_with_the_time() {
    let (news, received) = channel::bounded(100);
    let read = Arc::new(Read::new(RECYCLED));
    let mut teller = Teller::new(0, 1, news, read, Arc::default());
    for (place, id) in ids(900).into_iter().enumerate() {
        make_quietly(&mut teller, id);
        if place % 3 == 0 {
            teller.turned(id, true);
        }
    }
    teller.batch_done();
    let (mut made, mut lists) = (0, 0);
    for news in received.try_iter() {
        let News::Events { events, .. } = news else {
            panic!("{news:?}");
        };
        lists += 1;
        let is_made = |event: &&Event| matches!(event, Event::Made(..));
        made += events.iter().filter(is_made).count();
        let time = events
            .iter()
            .position(|event| matches!(event, Event::At(_)));
        let first = events
            .iter()
            .position(|event| matches!(event, Event::Made(..)));
        assert!(first.is_none() || time < first, "{time:?} {first:?}");
        assert!(time.is_some() && events.len() <= 256);
    }
    assert_eq!((made, lists), (900, 5));
}

/// Marks and what a persistence engine found go with the request; requests without a connection are sampled too.
#[test]
fn requests_are_told_whole_and_in_the_sample() {
    let (news, received) = channel::bounded(100);
    let read = Arc::new(Read::new(RECYCLED));
    let mut teller = Teller::new(3, 10, news, read, Arc::default());
    let flow = flow(Protocol::Udp, 5060, 5060);
    let asked = asked(&flow, 7, Some(b"call"));
    for _ in 0..50 {
        teller.asked(&asked, Choice::Refused);
        teller.asked(&asked, Choice::Once(SERVER));
    }
    teller.batch_done();
    let Ok(News::Events { worker: 3, events }) = received.try_recv() else {
        panic!("one list");
    };
    let requests = events.iter().filter_map(|event| match event {
        Event::Asked(asked) => Some(&asked.0),
        _ => None,
    });
    let told = events::Request {
        flow,
        mark: 7,
        data: Some(Box::from(*b"call")),
        now: asked.now,
    };
    assert_eq!(requests.collect::<Vec<_>>(), [&told; 10]);
}

#[test]
fn what_is_lost_is_counted_and_the_shadows_begin_anew() {
    let rules = "-A -t 10.8.0.1:80 -s wlc\n-a -t 10.8.0.1:80 -r 10.2.0.11:80 -g -w 1\n";
    let live = Arc::new(Shared::new(Options::default()));
    DesiredState::parse(rules).unwrap().apply(&live).unwrap();
    let lost = Arc::new(AtomicU64::new(0));
    // Room for two batches, and nobody takes any.
    let (news, received) = channel::bounded(2);
    let read = Arc::new(Read::new(RECYCLED));
    let mut teller = Teller::new(0, 1, news, Arc::clone(&read), Arc::clone(&lost));
    let specs = ["wlc".parse().unwrap()];
    let mut follow = Follow {
        engine: Engine::new(&specs, Arc::clone(&live), Configured::of(&live)),
        clock: Clock::start(),
        sample: 1,
        read,
        lost: Arc::clone(&lost),
        known_lost: 0,
        next_look: Instant::now(),
    };
    let ids = ids(300);
    // Two fill the queue, the others one more list until there is no room in it.
    let (first, last) = ids.split_at(2 + 253);
    for &id in first {
        make(&mut teller, id);
    }
    assert_eq!(lost.load(Relaxed), 0);
    make(&mut teller, last[0]);
    // When they came, and that they did.
    assert_eq!(lost.load(Relaxed), 255);
    received.try_iter().for_each(|news| follow.take(news));
    assert_eq!(follow.engine.report().live, 2);
    follow.look_in_time(&received);
    let report = follow.engine.report();
    assert_eq!((report.live, report.restarts), (0, 1));
    let servers = report.services[0]
        .schedulers
        .iter()
        .flat_map(|row| &row.servers);
    assert!(servers.clone().count() == 2 && servers.clone().all(|it| it.inactive == 0));
    // The end of a forgotten one is nothing new; what comes then counts again.
    teller.ended(ids[0]);
    make(&mut teller, last[1]);
    received.try_iter().for_each(|news| follow.take(news));
    follow.next_look = Instant::now();
    follow.look_in_time(&received);
    let report = follow.engine.report();
    assert_eq!((report.live, report.restarts), (1, 1));
    // What was told before a change is followed before it is taken over.
    make(&mut teller, last[2]);
    let more = "-A -t 10.8.0.2:80 -s wlc\n";
    DesiredState::parse(more).unwrap().apply(&live).unwrap();
    follow.next_look = Instant::now();
    follow.look_in_time(&received);
    assert_eq!(follow.engine.report().services.len(), 1);
    received.try_iter().for_each(|news| follow.take(news));
    follow.next_look = Instant::now();
    follow.look_in_time(&received);
    assert_eq!(follow.engine.report().services.len(), 2);
}
