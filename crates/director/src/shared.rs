//! What all workers have in common: services, templates, settings, counters; and the commands that change
//! them, with the kernel's rules and errors.

use core::net::IpAddr;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use crate::command::CommandError;
use crate::command::{check_destination, check_service, is_unicast};
use crate::defence::{Defence, Watch};
use crate::destination::{Destination, DestinationConfig};
pub use crate::options::{Options, Timeouts};
use crate::orphans;
use crate::owners::Owners;
use crate::protocol::Direction;
use crate::real_servers::RealServers;
use crate::scheduler::{Change, Entry};
use crate::service::{Destinations, Service, ServiceConfig, ServiceKey};
use crate::services::Services;
use crate::snapshot::Snapshot;
use crate::stats::{ESTIMATION_PERIOD, Stats};
use crate::sync::Roles;
use crate::sysctl::{LONGEST_SECONDS, Sysctl, SysctlError, Sysctls};
use crate::template::{Ended, Template, Templates};
use crate::time::Instant;
use crate::trackers::Trackers;
use crate::trash::Trash;

mod fork;

/// Most estimator samples taken at once when the clock jumps; the averages are 0 long before.
const MOST_SAMPLES: u32 = 128;

/// What commands change, one at a time.
#[derive(Debug, Default)]
pub(crate) struct Control {
    trash: Trash,
    services_made: u64,
    next_sample: Option<Instant>,
    watch: Watch,
    /// Deletions whose templates have been looked for, and when to look for those of the newer ones.
    swept: u64,
    sweep: Option<Instant>,
}

/// What all workers share.
#[derive(Debug)]
pub struct Shared {
    services: Snapshot<Services>,
    /// The `net.ipv4.vs.*` settings.
    pub sysctls: Sysctls,
    /// Counters of the whole director.
    pub stats: Stats,
    /// Which synchronisation daemons run.
    pub sync: Roles,
    pub(crate) templates: Templates,
    pub(crate) real_servers: RealServers,
    pub(crate) defence: Defence,
    /// Which worker owns which FTP data connection.
    pub owners: Owners,
    pub(crate) trackers: Trackers,
    timeouts: [AtomicU32; 3],
    control: Mutex<Control>,
    /// Grows with every change of services, real servers, timeouts and settings.
    generation: AtomicU64,
    /// Grows with every deletion that is to end connections (`expire_nodest_conn`).
    deletions: AtomicU64,
    /// What it was started with.
    pub(crate) options: Options,
}

impl Shared {
    /// A director without services.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let Timeouts { tcp, tcp_fin, udp } = Timeouts::default();
        Self {
            services: Snapshot::default(),
            sysctls: Sysctls::default(),
            stats: Stats::new(options.workers),
            sync: Roles::default(),
            templates: Templates::new(options.seed, options.max_templates),
            real_servers: RealServers::default(),
            defence: Defence::default(),
            owners: Owners::default(),
            trackers: Trackers::default(),
            timeouts: [tcp, tcp_fin, udp].map(AtomicU32::new),
            control: Mutex::new(Control {
                watch: Watch::new(options.seed.0),
                ..Control::default()
            }),
            generation: AtomicU64::new(0),
            deletions: AtomicU64::new(0),
            options,
        }
    }

    /// What it was started with.
    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// The scheduler of this name, one of the kernel's or of [`Options::schedulers`].
    #[must_use]
    pub fn scheduler(&self, name: &str) -> Option<&'static Entry> {
        self.options.scheduler(name)
    }

    /// The services now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Services> {
        self.services.load_full()
    }

    /// A number that is another one after every command that changed services, real servers, timeouts or settings.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Relaxed)
    }

    /// Adds a virtual service (`-A`).
    ///
    /// # Errors
    /// [`CommandError`]: it exists; unknown scheduler or persistence engine; IPv6 prefix length out of range.
    pub fn add_service(&self, config: ServiceConfig) -> Result<(), CommandError> {
        let mut control = self.control();
        let services = self.snapshot();
        if services.get(&config.key).is_some() {
            return Err(CommandError::ServiceExists);
        }
        let entry = check_service(&config, &self.options)?;
        let known = control.trash.take_service(&config.key);
        let (stats, changed) = known.map_or_else(
            || (Arc::new(Stats::new(self.options.workers)), Arc::default()),
            |(stats, changed)| {
                stats.restart();
                (stats, changed)
            },
        );
        control.services_made += 1;
        let service = Service::new(
            config,
            entry,
            stats,
            changed,
            control.services_made,
            self.options.lots,
        );
        self.publish(services.with(Arc::new(service)));
        Ok(())
    }

    /// Changes a virtual service's settings (`-E`); its key says which.
    ///
    /// # Errors
    /// [`CommandError`]: it does not exist; else as [`Shared::add_service`].
    pub fn edit_service(&self, config: ServiceConfig) -> Result<(), CommandError> {
        let _control = self.control();
        let services = self.snapshot();
        let service = services.get(&config.key).ok_or(CommandError::NoService)?;
        let entry = check_service(&config, &self.options)?;
        let service = service.with_config(config, entry);
        self.publish(services.with(Arc::new(service)));
        Ok(())
    }

    /// Deletes a virtual service and its real servers (`-D`).
    ///
    /// # Errors
    /// [`CommandError::NoService`].
    pub fn delete_service(&self, key: &ServiceKey) -> Result<(), CommandError> {
        let mut control = self.control();
        let services = self.snapshot();
        let service = services.get(key).ok_or(CommandError::NoService)?;
        self.discard(&mut control, service);
        self.publish(services.without(key));
        self.note_deletion();
        Ok(())
    }

    /// Deletes all virtual services (`-C`).
    pub fn flush(&self) {
        let mut control = self.control();
        let services = self.snapshot();
        for service in services.iter() {
            self.discard(&mut control, service);
        }
        self.publish(Services::default());
        self.note_deletion();
    }

    /// Adds a real server at the head of its service's list (`-a`).
    ///
    /// # Errors
    /// [`CommandError`]: no such service; the real server exists; a setting out of range.
    pub fn add_destination(
        &self,
        key: &ServiceKey,
        config: &DestinationConfig,
    ) -> Result<(), CommandError> {
        let mut control = self.control();
        let services = self.snapshot();
        let service = services.get(key).ok_or(CommandError::NoService)?;
        check_destination(key.family(), config, self.sync.is_any())?;
        if service.destination(config.address, config.port).is_some() {
            return Err(CommandError::DestinationExists);
        }
        let (address, port) = (config.address, config.port);
        let destination = match control.trash.take(*key, service.number, address, port) {
            Some(known) => {
                known.reconfigure(config, true);
                known
            }
            None if is_unicast(address) => {
                let stats = Arc::clone(&service.stats);
                let changed = Arc::clone(&service.changed);
                Arc::new(Destination::noting(
                    config,
                    stats,
                    changed,
                    self.options.workers,
                ))
            }
            None => return Err(CommandError::NotUnicast),
        };
        let others = service.destinations.iter().cloned();
        let destinations: Destinations = core::iter::once(destination).chain(others).collect();
        self.real_servers.add(*key, address, port);
        self.trackers.begin(service, config.method);
        let service = service.with_destinations(destinations, Change::Added(0));
        self.publish(services.with(Arc::new(service)));
        Ok(())
    }

    /// Changes a real server's settings (`-e`).
    ///
    /// # Errors
    /// [`CommandError`]: no such service or real server; a setting out of range.
    pub fn edit_destination(
        &self,
        key: &ServiceKey,
        config: &DestinationConfig,
    ) -> Result<(), CommandError> {
        let _control = self.control();
        let services = self.snapshot();
        let service = services.get(key).ok_or(CommandError::NoService)?;
        check_destination(key.family(), config, self.sync.is_any())?;
        let index = service.position(config.address, config.port);
        let index = index.ok_or(CommandError::NoDestination)?;
        service.destinations[index].reconfigure(config, false);
        service.edited(index);
        self.trackers.begin(service, config.method);
        self.generation.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Deletes a real server (`-d`). Its connections stay; should it come back, they go on.
    ///
    /// # Errors
    /// [`CommandError`]: no such service or real server.
    pub fn delete_destination(
        &self,
        key: &ServiceKey,
        address: IpAddr,
        port: u16,
    ) -> Result<(), CommandError> {
        let mut control = self.control();
        let services = self.snapshot();
        let service = services.get(key).ok_or(CommandError::NoService)?;
        let index = service.position(address, port);
        let index = index.ok_or(CommandError::NoDestination)?;
        let mut destinations = service.destinations.to_vec();
        let destination = destinations.remove(index);
        destination.retire();
        self.real_servers.remove(key, address, port);
        control.trash.put(*key, service.number, destination);
        let service = service.with_destinations(destinations.into(), Change::Removed(index));
        self.publish(services.with(Arc::new(service)));
        self.note_deletion();
        Ok(())
    }

    /// Zeroes the counters of one service, or of all services and the director (`-Z`).
    ///
    /// # Errors
    /// [`CommandError::NoService`].
    pub fn zero(&self, key: Option<&ServiceKey>) -> Result<(), CommandError> {
        let _control = self.control();
        let services = self.snapshot();
        let zero = |service: &Service| {
            let destinations = service.destinations.iter();
            destinations.for_each(|destination| destination.stats.zero());
            service.stats.zero();
        };
        match key {
            Some(key) => zero(services.get(key).ok_or(CommandError::NoService)?),
            None => {
                services.iter().for_each(|service| zero(service));
                self.stats.zero();
            }
        }
        Ok(())
    }

    /// The timeouts that `--set` changes.
    #[must_use]
    pub fn timeouts(&self) -> Timeouts {
        let [tcp, tcp_fin, udp] = &self.timeouts;
        Timeouts {
            tcp: tcp.load(Relaxed),
            tcp_fin: tcp_fin.load(Relaxed),
            udp: udp.load(Relaxed),
        }
    }

    /// Sets timeouts (`--set`); one that is 0 stays.
    ///
    /// # Errors
    /// [`CommandError::TimeoutTooLong`].
    pub fn set_timeouts(&self, timeouts: Timeouts) -> Result<(), CommandError> {
        let _control = self.control();
        let values = [timeouts.tcp, timeouts.tcp_fin, timeouts.udp];
        if values
            .iter()
            .any(|&value| value > LONGEST_SECONDS.unsigned_abs())
        {
            return Err(CommandError::TimeoutTooLong);
        }
        for (timeout, value) in self.timeouts.iter().zip(values) {
            if value != 0 {
                timeout.store(value, Relaxed);
            }
        }
        self.generation.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Changes the setting called `name` (with or without its prefix), at once for every worker.
    ///
    /// # Errors
    /// [`SysctlError`]; the setting keeps its value.
    pub fn set_sysctl(&self, name: &str, value: &str) -> Result<(), SysctlError> {
        let _control = self.control();
        self.defence.write(&self.sysctls, name, value)?;
        self.generation.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Counts a new connection of `worker` at its real server, its service and the director.
    pub fn count_connection(&self, worker: usize, destination: &Destination) {
        destination.count_connection(worker);
        self.stats.count_connection(worker);
    }

    /// Counts a packet of `octets` octets in this direction, of a connection whose real server is available.
    #[inline]
    pub(crate) fn count(
        &self,
        worker: usize,
        destination: &Destination,
        direction: Direction,
        octets: usize,
    ) {
        let octets = u64::try_from(octets).unwrap_or(u64::MAX);
        for stats in [&destination.stats, &*destination.service_stats, &self.stats] {
            match direction {
                Direction::ToServer => stats.count_in(worker, octets),
                Direction::ToClient => stats.count_out(worker, octets),
            }
        }
    }

    /// Counts a packet from a client; nothing when the real server was deleted.
    pub fn count_in(&self, worker: usize, destination: &Destination, bytes: u64) {
        if destination.is_available() {
            destination.count_in(worker, bytes);
            self.stats.count_in(worker, bytes);
        }
    }

    /// Counts a packet to a client; nothing when the real server was deleted.
    pub fn count_out(&self, worker: usize, destination: &Destination, bytes: u64) {
        if destination.is_available() {
            destination.count_out(worker, bytes);
            self.stats.count_out(worker, bytes);
        }
    }

    /// A connection made from `template` ended.
    pub fn release_template(&self, template: &Arc<Template>, ended: Ended) {
        self.templates.release(template, ended);
    }

    /// Ends templates whose time has come; returns how many it looked at: less than `budget` when nothing is left to do.
    pub fn expire_templates(&self, now: Instant, budget: usize) -> usize {
        self.templates.expire(now, budget)
    }

    /// Calls `visit` for each persistence template, in no particular order.
    pub fn for_each_template(&self, visit: impl FnMut(&Arc<Template>)) {
        self.templates.for_each(visit);
    }

    /// Calls `visit` for each deleted real server and its service's key, in no particular order.
    pub fn for_each_deleted(&self, visit: impl FnMut(&ServiceKey, &Destination)) {
        self.control().trash.for_each(visit);
    }

    /// Estimator samples, and an end to real servers deleted long ago. To be called by one driver, often.
    pub fn tick(&self, now: Instant) {
        let mut control = self.control();
        control.trash.expire(now);
        self.services.release();
        self.sweep_templates(&mut control, now);
        self.watch(&mut control.watch, now);
        let mut due = *control
            .next_sample
            .get_or_insert_with(|| now.after(ESTIMATION_PERIOD));
        let mut samples = 0;
        while due <= now {
            if samples < MOST_SAMPLES {
                self.sample();
            }
            samples += 1;
            due = due.after(ESTIMATION_PERIOD);
            if samples == MOST_SAMPLES {
                due = due.max(now.after(ESTIMATION_PERIOD));
            }
        }
        control.next_sample = Some(due);
    }

    /// How many deletions there were whose connections are to end at once.
    pub(crate) fn deletions(&self) -> u64 {
        self.deletions.load(Relaxed)
    }

    fn note_deletion(&self) {
        if self.sysctls.is_on(Sysctl::ExpireNodestConn) {
            self.deletions.fetch_add(1, Relaxed);
        }
    }

    /// Ends the templates of deleted real servers that no connection holds, a while after the deletion.
    fn sweep_templates(&self, control: &mut Control, now: Instant) {
        let deletions = self.deletions();
        if control.swept != deletions {
            control.swept = deletions;
            control.sweep = Some(now.after(orphans::DELAY));
        }
        if control.sweep.is_some_and(|due| due <= now) {
            control.sweep = None;
            self.templates.end_orphans();
        }
    }

    /// Takes one sample of all estimators, for a driver that has the estimators' clock itself.
    pub fn estimate(&self) {
        let _control = self.control();
        self.sample();
    }

    fn sample(&self) {
        if !self.sysctls.is_on(Sysctl::RunEstimation) {
            return;
        }
        self.stats.estimate();
        for service in self.snapshot().iter() {
            service.stats.estimate();
            let destinations = service.destinations.iter();
            destinations.for_each(|destination| destination.stats.estimate());
        }
    }

    fn publish(&self, services: Services) {
        self.services.store(Arc::new(services));
        self.generation.fetch_add(1, Relaxed);
    }

    pub(crate) fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a service, and puts its real servers into the trash.
    fn discard(&self, control: &mut Control, service: &Service) {
        let key = service.config.key;
        service.close();
        for destination in service.destinations.iter() {
            destination.retire();
            let (address, port) = (destination.address, destination.port);
            self.real_servers.remove(&key, address, port);
            let destination = Arc::clone(destination);
            control.trash.put(key, service.number, destination);
        }
        control.trash.put_service(service);
        self.trackers.end(service);
    }
}
