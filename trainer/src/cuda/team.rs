//! The devices of a run: each has the whole model and a thread of its own, computes some parts of a
//! step, and takes the same step as the others.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::machine::{DeviceError, Machine};
use super::network::Network;
use super::optimise::Optimiser;
use crate::model::{Batch, Model};
use crate::train::TrainConfig;

/// What one device has.
pub struct Member {
    /// Its place among the devices, from 0.
    pub rank: usize,
    /// The model there.
    pub network: Network,
    /// Its optimiser.
    pub optimiser: Optimiser,
}

/// Loss of a part, and what was predicted at its positions.
pub type Computed = (f64, Vec<u32>);

type Task = Box<dyn FnOnce(&mut Member) + Send>;

/// The devices of a run.
pub struct Team {
    members: Vec<Sender<Task>>,
}

impl Team {
    /// Opens `count` devices by `open`, which is given their ranks, and brings the model to each.
    ///
    /// # Errors
    /// What the first of them refuses.
    pub fn open(
        count: usize,
        open: impl Fn(usize) -> Result<Rc<dyn Machine>, DeviceError> + Send + Sync + 'static,
        config: &TrainConfig,
        model: &Arc<Model>,
    ) -> Result<Self, DeviceError> {
        let open = Arc::new(open);
        let start = |rank: usize| {
            let (tasks, orders) = channel();
            let (opened, answer) = channel();
            let (open, config, model) = (open.clone(), config.clone(), model.clone());
            thread::spawn(move || {
                let member = open(rank).and_then(|own| Member::new(rank, own, &config, &model));
                drop(model);
                match member {
                    Ok(member) => {
                        let _ = opened.send(Ok(()));
                        member.work(&orders);
                    }
                    Err(error) => drop(opened.send(Err(error))),
                }
            });
            (tasks, answer)
        };
        let (members, answers): (_, Vec<_>) = (0..count).map(start).unzip();
        let answers: Vec<_> = answers.iter().map(answered).collect();
        answers.into_iter().collect::<Result<Vec<()>, _>>()?;
        Ok(Team { members })
    }

    /// Has every device do the same at once, and gives what they answer, by rank.
    ///
    /// # Errors
    /// The first error by rank, when all have answered.
    pub fn each<T: Send + 'static>(
        &self,
        task: impl Fn(&mut Member) -> Result<T, DeviceError> + Send + Sync + 'static,
    ) -> Result<Vec<T>, DeviceError> {
        self.ask(self.members.len(), task)
    }

    /// Has the first device do something.
    ///
    /// # Errors
    /// Its error.
    pub fn first<T: Send + 'static>(
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
        let order = |tasks: &Sender<Task>| {
            let (answers, answer) = channel();
            let task = task.clone();
            let run: Task = Box::new(move |member| drop(answers.send(task(member))));
            // A thread that has ended drops the order, and with it the way of its answer.
            let _ = tasks.send(run);
            answer
        };
        let answers: Vec<_> = self.members.iter().take(count).map(order).collect();
        let answers: Vec<_> = answers.iter().map(answered).collect();
        answers.into_iter().collect()
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
}

fn answered<T>(answer: &Receiver<Result<T, DeviceError>>) -> Result<T, DeviceError> {
    answer.recv().unwrap_or_else(|_| Err(ended()))
}

/// A thread that panicked.
fn ended() -> DeviceError {
    DeviceError::Unavailable("the thread of a device has ended".to_owned())
}

impl Member {
    fn new(
        rank: usize,
        machine: Rc<dyn Machine>,
        config: &TrainConfig,
        model: &Model,
    ) -> Result<Self, DeviceError> {
        let network = Network::new(machine.clone(), model, config.recompute)?;
        let tensors = match &model.lora {
            Some(lora) => lora.tensors.clone(),
            None => model.layout.tensors.clone(),
        };
        let optimiser = Optimiser::new(&*machine, config.optimiser.clone(), tensors)?;
        Ok(Member { rank, network, optimiser })
    }

    fn work(mut self, orders: &Receiver<Task>) {
        while let Ok(task) = orders.recv() {
            task(&mut self);
        }
    }
}
