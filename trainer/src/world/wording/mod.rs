//! The words for every relation, by domain.

pub mod gazetteer;
pub mod machine;
pub mod site;
pub mod stores;
