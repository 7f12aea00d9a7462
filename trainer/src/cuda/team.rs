//! The devices of a run: each has the whole model and a thread of its own, computes some parts of a
//! step, and takes the same step as the others.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::driver::{Cuda, team_id};
use super::machine::{DeviceError, Machine};
use super::network::Network;
use super::optimise::Optimiser;
use crate::model::{Batch, Model};
use crate::optimise::OptimiserConfig;

/// How a model is trained on devices.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The optimiser.
    pub optimiser: OptimiserConfig,
    /// Blocks are computed again on the way back.
    pub recompute: bool,
}

/// What one device has.
struct Member {
    /// Its place among the devices, from 0.
    rank: usize,
    network: Network,
    optimiser: Optimiser,
}

/// Loss of a part, and what was predicted at its positions.
pub type Computed = (f64, Vec<u32>);

type Task = Box<dyn FnOnce(&mut Member) + Send>;

/// The devices of a run.
pub struct Team {
    members: Vec<Seat>,
    /// Some have not answered: an error of one may let the others wait for ever.
    is_broken: Cell<bool>,
}

/// A device's thread, and the way to it.
struct Seat {
    tasks: Sender<Task>,
    thread: thread::JoinHandle<()>,
}

/// Waits until every device has given its memory back.
impl Drop for Team {
    fn drop(&mut self) {
        for Seat { tasks, thread } in self.members.drain(..) {
            drop(tasks);
            if !self.is_broken.get() {
                let _ = thread.join();
            }
        }
    }
}

impl Team {
    /// Opens `count` NVIDIA devices from number `first` on and brings the model to each.
    ///
    /// # Errors
    /// [`DeviceError`]: what is missing, or no memory.
    pub fn nvidia(
        first: usize,
        count: usize,
        settings: &Settings,
        model: &Arc<Model>,
    ) -> Result<Self, DeviceError> {
        let id = (count > 1).then(team_id).transpose()?;
        let open = move |rank| {
            let cuda = Cuda::open(first + rank)?;
            errln!("training on {}", cuda.name());
            Ok(Rc::new(cuda) as Rc<dyn Machine>)
        };
        let team = Self::open(count, open, settings, model)?;
        if let Some(id) = id {
            team.each(move |own| own.network.machine().join(own.rank, count, &id))?;
        }
        Ok(team)
    }

    /// Opens `count` devices by `open`, which is given their ranks, and brings the model to each.
    ///
    /// # Errors
    /// What the first of them refuses.
    pub(super) fn open(
        count: usize,
        open: impl Fn(usize) -> Result<Rc<dyn Machine>, DeviceError> + Send + Sync + 'static,
        settings: &Settings,
        model: &Arc<Model>,
    ) -> Result<Self, DeviceError> {
        let open = Arc::new(open);
        let (opened, answers) = channel();
        let start = |rank: usize| {
            let (tasks, orders) = channel();
            let (open, settings, model) = (open.clone(), settings.clone(), model.clone());
            let opened = opened.clone();
            let thread = thread::spawn(move || {
                let member = open(rank).and_then(|own| Member::new(rank, own, &settings, &model));
                drop(model);
                match member {
                    Ok(member) => {
                        let _ = opened.send((rank, Ok(())));
                        member.work(&orders);
                    }
                    Err(error) => drop(opened.send((rank, Err(error)))),
                }
            });
            Seat { tasks, thread }
        };
        let members = (0..count).map(start).collect();
        let team = Team { members, is_broken: Cell::new(false) };
        // One way back for each device that is still at it.
        drop(opened);
        team.answers(count, &answers)?;
        Ok(team)
    }

    /// Has every device do the same at once, and gives what they answer, by rank.
    ///
    /// # Errors
    /// The first error; nothing may be asked of several devices after it.
    fn each<T: Send + 'static>(
        &self,
        task: impl Fn(&mut Member) -> Result<T, DeviceError> + Send + Sync + 'static,
    ) -> Result<Vec<T>, DeviceError> {
        self.ask(self.members.len(), task)
    }

    /// Has the first device do something.
    ///
    /// # Errors
    /// Its error.
    fn first<T: Send + 'static>(
        &self,
        task: impl Fn(&mut Member) -> Result<T, DeviceError> + Send + Sync + 'static,
    ) -> Result<T, DeviceError> {
        self.ask(1, task)?.pop().ok_or_else(ended)
    }

    fn ask<T: Send + 'static>(
        &self,
        count: usize,
        task: impl Fn(&mut Member) -> Result<T, DeviceError> + Send + Sync + 'static,
    ) -> Result<Vec<T>, DeviceError> {
        let task = Arc::new(task);
        let (done, answers) = channel();
        for Seat { tasks, .. } in self.members.iter().take(count) {
            let (task, done) = (task.clone(), done.clone());
            let run: Task = Box::new(move |member| drop(done.send((member.rank, task(member)))));
            // A thread that has ended drops the order, and with it its way back.
            let _ = tasks.send(run);
        }
        drop(done);
        self.answers(count, &answers)
    }

    /// `count` answers by rank, or the first error.
    fn answers<T>(
        &self,
        count: usize,
        answers: &Receiver<(usize, Result<T, DeviceError>)>,
    ) -> Result<Vec<T>, DeviceError> {
        let mut all: Vec<Option<T>> = (0..count).map(|_| None).collect();
        for left in (0..count).rev() {
            let (rank, answer) = answers.recv().map_err(|_| ended())?;
            let answer = answer.inspect_err(|_| self.is_broken.set(left > 0))?;
            if let Some(place) = all.get_mut(rank) {
                *place = Some(answer);
            }
        }
        all.into_iter().collect::<Option<_>>().ok_or_else(ended)
    }

    /// Starts a new gradient; `seed` decides what adapters leave out.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn forget_gradient(&self, seed: u64) -> Result<(), DeviceError> {
        self.each(move |own| {
            own.network.set_step_seed(seed);
            own.network.forget_gradient()
        })?;
        Ok(())
    }

    /// Computes the parts of a step, in turn by rank, and with `scale` the gradients of each device's
    /// parts; gives what came of each part, in order.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn compute(
        &self,
        parts: Vec<Batch>,
        scale: Option<f32>,
    ) -> Result<Vec<Computed>, DeviceError> {
        let count = self.members.len();
        let mut computed = self.each(move |member| {
            let own = (0..).zip(&parts).skip(member.rank).step_by(count);
            own.map(|(seed, part)| member.network.run(part, scale, seed)).collect()
        })?;
        computed.iter_mut().for_each(|own: &mut Vec<Computed>| own.reverse());
        let parts: usize = computed.iter().map(Vec::len).sum();
        Ok((0..parts).filter_map(|part| computed.get_mut(part % count)?.pop()).collect())
    }

    /// Adds the gradients of all devices up. Only when all have computed: one that failed would let
    /// the others wait here.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn add_up(&self) -> Result<(), DeviceError> {
        if self.members.len() > 1 {
            self.each(|own| {
                let trained = &own.network.trained;
                own.network.machine().add_up(trained.gradient.at, trained.len)
            })?;
        }
        Ok(())
    }

    /// Step number `step`, from 1, the same on every device; gives the norm of the gradient.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn step(&self, rate: f32, step: u64) -> Result<f64, DeviceError> {
        let norms = self.each(move |own| own.optimiser.step(&own.network, rate, step))?;
        Ok(norms.first().copied().unwrap_or(f64::NAN))
    }

    /// What training changes.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn parameters(&self) -> Result<Vec<f32>, DeviceError> {
        self.first(|own| own.network.fetch(own.network.trained.masters.at))
    }

    /// The optimiser's first and second moments.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn moments(&self) -> Result<[Vec<f32>; 2], DeviceError> {
        self.first(|own| {
            let [first, second] = own.optimiser.moments().map(|at| own.network.fetch(at));
            Ok([first?, second?])
        })
    }

    /// The gradient that was computed.
    #[cfg(test)]
    pub fn gradient(&self) -> Result<Vec<f32>, DeviceError> {
        self.first(|own| own.network.fetch(own.network.trained.gradient.at))
    }

    /// Goes on from parameters and moments.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn load(&self, parameters: Vec<f32>, moments: [Vec<f32>; 2]) -> Result<(), DeviceError> {
        self.each(move |own| {
            own.network.load(&parameters)?;
            for (values, at) in moments.iter().zip(own.optimiser.moments()) {
                own.network.machine().upload(at, bytemuck::cast_slice(values))?;
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Bytes of all devices' memory that are in use since they were opened.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn held_bytes(&self) -> Result<u64, DeviceError> {
        Ok(self.each(|own| own.network.machine().held_bytes())?.iter().sum())
    }

    /// What the first device is called.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn name(&self) -> Result<String, DeviceError> {
        self.first(|own| Ok(own.network.machine().name().to_owned()))
    }
}

/// A thread that panicked.
fn ended() -> DeviceError {
    DeviceError::Unavailable("the thread of a device has ended".to_owned())
}

impl Member {
    fn new(
        rank: usize,
        machine: Rc<dyn Machine>,
        settings: &Settings,
        model: &Model,
    ) -> Result<Self, DeviceError> {
        let network = Network::new(machine.clone(), model, settings.recompute)?;
        let tensors = match &model.lora {
            Some(lora) => lora.tensors.clone(),
            None => model.layout.tensors.clone(),
        };
        let optimiser = Optimiser::new(&*machine, settings.optimiser.clone(), tensors)?;
        Ok(Member { rank, network, optimiser })
    }

    fn work(mut self, orders: &Receiver<Task>) {
        while let Ok(task) = orders.recv() {
            task(&mut self);
        }
    }
}
