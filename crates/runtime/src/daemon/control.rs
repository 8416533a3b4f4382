//! What the control thread keeps in line: services, host, VIPs, guard, links, saved state.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use caps::Capability;
use control::netlink::{Answer as Reaction, Errno, Reply, Request, refuse, requests, respond};
use control::server::Server;
use director::director::Host;
use director::net::Answer;
use director::shared::Shared;

use super::ask::{connections, reports};
use super::gro::Aggregation;
use super::guard::Shield;
use super::pace::Pace;
use super::settings::{Options, Settings};
use super::sharing::Sharing;
use super::start;
use crate::announce;
use crate::clock::Clock;
use crate::error::{Result, RuntimeError};
use crate::links::Links;
use crate::memory;
use crate::network::{self, ByTun, Watcher};
use crate::presence::Presence;
use crate::proc_files::ProcFiles;
use crate::reconcile;
use crate::shadow::Shadows;
use crate::state::StateFile;
use crate::status;
use crate::vips::{self, Forwarding, Wish};
use crate::worker::{Handle, Marks, Order};

/// Templates that one tick may end.
const TEMPLATE_BUDGET: usize = 100_000;

/// Everything that commands and the host's changes act on.
pub(super) struct Control {
    pub(super) clock: Clock,
    pub(super) options: Options,
    pub(super) settings: Settings,
    pub(super) shared: Arc<Shared>,
    pub(super) host: Arc<Host>,
    pub(super) server: Server,
    pub(super) watcher: Watcher,
    pub(super) links: Links,
    pub(super) presence: Presence,
    pub(super) shield: Shield,
    pub(super) aggregation: Aggregation,
    pub(super) forwarding: Forwarding,
    /// The host's tables could not be read.
    pub(super) stale: bool,
    pub(super) state: Option<StateFile>,
    pub(super) proc_files: ProcFiles,
    pub(super) workers: Vec<Handle>,
    /// Schedulers that only watch.
    pub(super) shadows: Option<Shadows>,
    pub(super) steering_seed: u32,
    /// The VIPs by which flows are shared out among the workers.
    pub(super) sharing: Sharing,
    /// [`Shared::generation`] that everything else is in line with.
    pub(super) generation: u64,
    /// When [`Control::place`] follows commands.
    pub(super) pace: Pace,
}

impl Control {
    /// Answers a client's datagram. What a command changed is in force, and saved, before the answer leaves; guard,
    /// announcements and the file may come a little later in a burst of commands ([`Pace`], [`StateFile`]).
    pub(super) fn answer(&mut self, datagram: &[u8]) -> Vec<Vec<u8>> {
        let mut replies = Vec::new();
        for frame in requests(datagram) {
            let now = self.clock.now();
            let port = frame.header.port;
            let request = match &frame.request {
                Err(errno) => {
                    replies.extend(respond(&frame, port, &Err(*errno)));
                    continue;
                }
                Ok(request) => request,
            };
            if let Err(sentence) = self.permit(request) {
                tracing::error!("refused: {sentence}");
                replies.push(refuse(&frame, port, Errno::EADDRNOTAVAIL, &sentence));
                continue;
            }
            self.fold_assisted();
            if let Request::DumpText(name) = request
                && let Some(text) = self.text(name)
            {
                let pieces = text.chunks(Reply::PIECE_MAX);
                let pieces = pieces.map(|piece| Reply::Text(piece.to_vec())).collect();
                replies.extend(respond(&frame, port, &Ok(Reaction::List(pieces))));
                continue;
            }
            let workers = &self.workers;
            let connections = |now| connections(workers, now);
            let answer = self.server.answer(request, now, &connections);
            self.void_after(request);
            self.follow();
            replies.extend(respond(&frame, port, &answer));
        }
        replies
    }

    /// The texts that only a daemon has.
    fn text(&self, name: &str) -> Option<Vec<u8>> {
        match name {
            status::NAME => Some(self.status().to_string()),
            control::counters::NAME => Some(self.counters().to_string()),
            control::shadow::NAME => self.shadow_report(),
            name => control::explain::question_in(name).map(|question| self.explain(question)),
        }
        .map(String::into_bytes)
    }

    /// A service whose packets the kernel would answer too is impossible when nothing can keep it from that.
    fn permit(&self, request: &Request) -> std::result::Result<(), String> {
        let Request::NewService(attrs) = request else {
            return Ok(());
        };
        let Ok(control::netlink::ServiceKey::Address { address, .. }) = attrs.key() else {
            return Ok(());
        };
        self.shield
            .check(self.watcher.tables(), address, &self.wish(address))
    }

    /// Brings everything in line with the services, if a command changed them.
    fn follow(&mut self) {
        let generation = self.shared.generation();
        if generation == self.generation {
            return;
        }
        self.generation = generation;
        if let Some(shadows) = &self.shadows {
            shadows.configured();
        }
        let now = Instant::now();
        if self.pace.ask(now) {
            self.place();
        }
        if self.state.as_mut().is_some_and(|state| state.changed(now)) {
            self.save_now();
        }
    }

    /// Brings VIPs, guard and steering in line with services and host.
    pub(super) fn place(&mut self) {
        // Takes the kernel some milliseconds, but only for new interfaces: no reason to do the rest less often.
        self.aggregation
            .update(self.links.on_wires(), self.settings.gro);
        let begun = Instant::now();
        let wanted = self.wanted();
        let tables = self.watcher.tables();
        let interfaces: BTreeSet<u32> = self.links.on_wires().map(|(index, _)| index).collect();
        self.presence
            .update(tables, &wanted, &interfaces, Instant::now());
        let answers = self.presence.answers();
        self.guard(&answers);
        let tables = self.watcher.tables();
        let open: BTreeSet<u32> = self.links.iter().map(|(index, _)| index).collect();
        let tun = self.links.tun();
        let by_tun = tun.map(|tun| ByTun { open: &open, tun });
        let mut network = network::snapshot(tables, answers, by_tun.as_ref());
        network.route_generation = self.watcher.route_generation();
        self.host.network.store(Arc::new(network));
        self.void_assisted();
        let shared_out = self.share_out(wanted.into_keys().collect());
        self.pace.done(begun, Instant::now());
        if shared_out {
            self.ask_to_steer();
        }
    }

    /// Brings the guard in line with services, connections and host.
    fn guard(&mut self, answers: &HashMap<IpAddr, Answer>) {
        let names = self
            .links
            .on_wires()
            .map(|(_, name)| name.to_owned())
            .collect();
        let (tables, shared) = (self.watcher.tables(), &self.shared);
        self.shield
            .update(tables, shared, &self.settings, answers, names);
    }

    /// VIPs of all services and of the configuration, with what the operator says about them.
    fn wanted(&self) -> BTreeMap<IpAddr, Wish> {
        let services = self.shared.snapshot();
        let keys = services.iter().map(|service| service.config.key);
        let vips = keys.flat_map(|key| self.settings.vips_of(&key));
        let configured = self.settings.vips.keys().copied();
        vips.chain(configured)
            .map(|vip| (vip, self.wish(vip)))
            .collect()
    }

    fn wish(&self, vip: IpAddr) -> Wish {
        self.settings.wish(vip, self.watcher.tables())
    }

    /// Checks the VIPs of a configuration: each must have somebody to answer for it, and be guarded where needed.
    ///
    /// # Errors
    /// A sentence that names the VIP and says what to do.
    pub(super) fn check_vips(&self, settings: &Settings, shield: &Shield) -> Result<()> {
        let tables = self.watcher.tables();
        let rules = settings.desired.services.iter();
        let of_rules = rules.flat_map(|(config, _)| settings.vips_of(&config.key));
        for vip in of_rules.chain(settings.vips.keys().copied()) {
            let wish = settings.wish(vip, tables);
            vips::place(tables, vip, &wish).map_err(RuntimeError::Refused)?;
            shield
                .check(tables, vip, &wish)
                .map_err(RuntimeError::Refused)?;
        }
        Ok(())
    }

    /// Checks that the services that are there can work on this host.
    ///
    /// # Errors
    /// A sentence that names the VIP and says what to do.
    pub(super) fn check_services(&self) -> Result<()> {
        let tables = self.watcher.tables();
        for (vip, wish) in self.wanted() {
            self.shield
                .check(tables, vip, &wish)
                .map_err(RuntimeError::Refused)?;
        }
        Ok(())
    }

    /// Opens the interfaces and brings everything in line for the first time.
    ///
    /// # Errors
    /// The first interface that cannot be opened.
    pub(super) fn open_links(&mut self) -> Result<()> {
        self.sharing = Sharing::by(self.wanted().into_keys().collect());
        let steering = Arc::new(self.steering());
        for worker in &self.workers {
            worker.order(Order::Steer(Arc::clone(&steering)));
        }
        self.links
            .update(self.watcher.tables(), &self.workers, &steering, true)?;
        self.give_marks();
        self.place();
        Ok(())
    }

    /// Reads the configuration again. What is wrong in it is logged, and everything stays as it is.
    pub(super) fn reload(&mut self) {
        match Settings::read(&self.options).and_then(|settings| self.take(settings)) {
            Ok(changes) => {
                tracing::info!("configuration read again: {changes} changes to services")
            }
            Err(error) => tracing::error!("configuration not taken: {error}"),
        }
    }

    /// Takes new settings; returns how many commands that took.
    fn take(&mut self, settings: Settings) -> Result<usize> {
        let tables = self.watcher.tables();
        let shield = if self.shield.suits(&settings.interfaces) {
            None
        } else {
            let links = Links::new(settings.interfaces.clone(), tables)?;
            Some(Shield::of(&settings.interfaces, &links, tables))
        };
        self.check_vips(&settings, shield.as_ref().unwrap_or(&self.shield))?;
        let shadows = self.start_shadows(&settings)?;
        if settings.needs_restart(&self.settings) {
            tracing::warn!(
                "changes of workers, busy_poll, assist, max_connections, control, state and log take a restart"
            );
        }
        self.links.want(
            settings.interfaces.clone(),
            self.watcher.tables(),
            &self.workers,
        )?;
        if let Some(shield) = shield {
            self.links.follow(shield.flows());
            self.shield = shield;
        }
        let steering = self.steering();
        self.links
            .update(self.watcher.tables(), &self.workers, &steering, false)?;
        let mut changes = 0;
        if settings.digest != self.settings.digest {
            changes = reconcile::reach(&self.shared, &settings.desired);
        }
        if settings.shadow != self.settings.shadow {
            self.put_shadows(shadows);
        }
        let running = &self.settings;
        self.settings = Settings {
            workers: running.workers,
            busy_poll: running.busy_poll,
            assist: running.assist,
            max_connections: running.max_connections,
            control: running.control.clone(),
            state: running.state.clone(),
            state_by_default: running.state_by_default,
            log: running.log,
            ..settings
        };
        self.give_marks();
        self.place();
        self.follow();
        Ok(changes)
    }

    /// Tells the workers which packets have marks.
    pub(super) fn give_marks(&self) {
        let rules = &self.settings.marks;
        let names: HashMap<u32, String> = self
            .links
            .iter()
            .map(|(index, name)| (index, name.to_owned()))
            .collect();
        let marks = (!rules.is_empty()).then(|| Arc::new(Marks::new(Arc::clone(rules), names)));
        for worker in &self.workers {
            worker.order(Order::Mark(marks.clone()));
        }
    }

    /// Takes in what the kernel told; returns whether there is more at once. What could not be read is read anew with
    /// the next tick.
    pub(super) fn network_changed(&mut self) -> bool {
        match self.watcher.process() {
            Ok(news) => {
                if news.changed {
                    self.take_host();
                }
                news.more
            }
            Err(error) => {
                tracing::warn!("{error}; trying again");
                self.stale = true;
                false
            }
        }
    }

    /// Brings everything in line with the host's tables.
    fn take_host(&mut self) {
        let steering = self.steering();
        let updated = self
            .links
            .update(self.watcher.tables(), &self.workers, &steering, false);
        if let Err(error) = updated {
            tracing::warn!("{error}");
        }
        if !self.settings.marks.is_empty() {
            self.give_marks();
        }
        self.place();
    }

    /// A worker found that an interface is gone.
    pub(super) fn link_lost(&mut self, interface: u32) {
        self.links.close(interface, &self.workers);
        self.place();
    }

    /// Once a second.
    pub(super) fn tick(&mut self) {
        let now = self.clock.now();
        let midnight = self.clock.midnight_ms();
        self.host.midnight_ms.store(midnight, Ordering::Relaxed);
        if self.shared.needs_memory()
            && let Some(pages) = memory::free_pages()
        {
            self.shared.set_free_pages(pages);
        }
        self.fold_assisted();
        self.shared.tick(now);
        if self.shared.drops_entries() {
            // A worker to which nothing comes does not look at the settings.
            for worker in &self.workers {
                worker.order(Order::Run(Box::new(|_, _| {})));
            }
        }
        self.shared.expire_templates(now, TEMPLATE_BUDGET);
        if self.stale && self.watcher.resync().is_ok() {
            self.stale = false;
            self.take_host();
        }
        // The kernel tells nobody when forwarding is turned on.
        let forwarding = Forwarding::read();
        if forwarding != self.forwarding {
            self.forwarding = forwarding;
            self.place();
        }
        if self.shield.keeps() {
            self.guard(&self.presence.answers());
        }
        self.write_texts(now);
    }

    /// Writes the texts of `/proc/net/ip_vs*` where the configuration asks for files.
    fn write_texts(&mut self, now: director::time::Instant) {
        if !self.settings.proc_files {
            self.proc_files.remove();
            return;
        }
        let moment = Instant::now();
        if self.proc_files.is_due(moment) {
            let (server, workers) = (&self.server, &self.workers);
            let connections = |now| connections(workers, now);
            let text = |name: &str| server.text(name, now, &connections);
            self.proc_files.write(moment, text);
        }
    }

    /// Time until something of [`Control::on_time`] must be done.
    pub(super) fn due(&self, now: Instant) -> Option<Duration> {
        let state = self.state.as_ref().and_then(|state| state.due(now));
        let announcement = self
            .presence
            .next_due()
            .map(|at| at.saturating_duration_since(now));
        let (place, sharing) = (self.pace.due(now), self.sharing.due(now));
        [state, announcement, place, sharing]
            .into_iter()
            .flatten()
            .min()
    }

    /// Does what is due.
    pub(super) fn on_time(&mut self, now: Instant) {
        if self.pace.due(now) == Some(Duration::ZERO) {
            self.place();
        }
        if self.sharing.due(now) == Some(Duration::ZERO) {
            self.steer();
        }
        if self.state.as_ref().and_then(|state| state.due(now)) == Some(Duration::ZERO) {
            self.save_now();
        }
        for (interface, vip) in self.presence.due(now) {
            if let Some(link) = self.watcher.tables().links().get(&interface) {
                announce::send(&self.links, interface, link, vip);
            }
        }
    }

    /// Saves the state if it changed; a failure is logged and tried again.
    pub(super) fn save_now(&mut self) {
        let now = Instant::now();
        let Some(state) = self.state.as_mut().filter(|state| state.due(now).is_some()) else {
            return;
        };
        let text = start::state_text(&self.shared, self.settings.digest);
        if let Err(error) = state.save(&text, now) {
            tracing::error!("{error}");
        }
    }

    /// Capabilities that the control thread needs after the start.
    pub(super) fn capabilities(&self) -> Vec<Capability> {
        [
            self.shield.capabilities(),
            self.aggregation.capabilities(),
            &self.links.capabilities(),
            self.assist_capabilities(),
        ]
        .concat()
    }

    pub(super) fn stop_workers(&mut self) {
        for worker in &self.workers {
            worker.order(Order::Stop);
        }
        for worker in self.workers.drain(..) {
            worker.join();
        }
        if let Some(shadows) = self.shadows.take() {
            shadows.stop();
        }
    }

    /// The counters in the log, those that are not 0.
    pub(super) fn log_counters(&self) {
        self.fold_assisted();
        for (index, report) in reports(&self.workers).iter().enumerate() {
            tracing::info!(
                "worker {index}: {}",
                super::summary::of(report, &self.links)
            );
        }
    }
}
