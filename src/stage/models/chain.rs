//! The order of the models to fall back to.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use crate::classify::ModelFault;

/// The reason why a [`ModelChain`] cannot be built.
///
/// ```
/// use tower_failover::{fallback::ModelChainError, ModelChain};
///
/// let twice = ModelChain::list(["large", "small", "large"]);
/// assert_eq!(twice.unwrap_err(), ModelChainError::Duplicate("large".into()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelChainError {
    /// A list names a model twice.
    #[error("the list names the model {0:?} twice: a request visits a model once, so name it once")]
    Duplicate(Box<str>),
    /// A model name is empty.
    #[error("a model name is empty: remove it from the list")]
    Empty,
}

/// The models to fall back to.
///
/// 1. In a [list](ModelChain::list), the models after the request's own are tried in order.
/// 2. In a [map](ModelChain::map), the models that the request's own model maps to are tried first,
///    then those that these map to. A request tries each model once, so cycles end.
/// 3. A model that appears in no list or entry has no fallback, unless there is a
///    [default](ModelChain::otherwise).
/// 4. A request that is too long, or against a model's content policy, falls back only to the lists
///    for [these](ModelChain::when_too_long) [cases](ModelChain::when_forbidden), because the next
///    model of the chain would usually fail in the same way.
///
/// ```
/// use tower_failover::ModelChain;
///
/// let chain = ModelChain::list(["large", "medium", "small"])?
///     .otherwise(["medium"])?
///     .when_too_long(["large-1m"])?;
/// # Ok::<(), tower_failover::fallback::ModelChainError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelChain {
    after: BTreeMap<Arc<str>, Arc<[Arc<str>]>>,
    otherwise: Arc<[Arc<str>]>,
    too_long: Option<Arc<[Arc<str>]>>,
    forbidden: Option<Arc<[Arc<str>]>>,
}

impl ModelChain {
    /// Builds a chain from one list, best model first.
    ///
    /// # Errors
    ///
    /// A name is empty, or occurs twice.
    pub fn list<M: Into<Arc<str>>>(
        models: impl IntoIterator<Item = M>,
    ) -> Result<Self, ModelChainError> {
        let models = checked(models)?;
        let after = models.iter().enumerate();
        let after =
            after.map(|(at, model)| (model.clone(), models.iter().skip(at + 1).cloned().collect()));
        Ok(Self { after: after.collect(), ..Self::default() })
    }

    /// Builds a chain from the models to fall back to for each model.
    ///
    /// # Errors
    ///
    /// A name is empty, or occurs twice in one list.
    pub fn map<K, M, L>(entries: impl IntoIterator<Item = (K, L)>) -> Result<Self, ModelChainError>
    where
        K: Into<Arc<str>>,
        M: Into<Arc<str>>,
        L: IntoIterator<Item = M>,
    {
        let mut after = BTreeMap::new();
        for (model, list) in entries {
            let model = model.into();
            if model.is_empty() {
                return Err(ModelChainError::Empty);
            }
            after.insert(model, checked(list)?);
        }
        Ok(Self { after, ..Self::default() })
    }

    /// Sets the fallback of models that appear nowhere else.
    ///
    /// # Errors
    ///
    /// A name is empty, or occurs twice.
    pub fn otherwise<M: Into<Arc<str>>>(
        mut self,
        models: impl IntoIterator<Item = M>,
    ) -> Result<Self, ModelChainError> {
        self.otherwise = checked(models)?;
        Ok(self)
    }

    /// Sets the fallback of requests that are longer than their model's context.
    ///
    /// # Errors
    ///
    /// A name is empty, or occurs twice.
    pub fn when_too_long<M: Into<Arc<str>>>(
        mut self,
        models: impl IntoIterator<Item = M>,
    ) -> Result<Self, ModelChainError> {
        self.too_long = Some(checked(models)?);
        Ok(self)
    }

    /// Sets the fallback of requests that their model's content policy forbids.
    ///
    /// # Errors
    ///
    /// A name is empty, or occurs twice.
    pub fn when_forbidden<M: Into<Arc<str>>>(
        mut self,
        models: impl IntoIterator<Item = M>,
    ) -> Result<Self, ModelChainError> {
        self.forbidden = Some(checked(models)?);
        Ok(self)
    }

    /// Returns the models to try after `visited`, in order. The first of `visited` is the request's own.
    pub(crate) fn after(&self, visited: &[Arc<str>], fault: Option<ModelFault>) -> Vec<Arc<str>> {
        let special = match fault {
            Some(ModelFault::ContextTooLong) => Some(&self.too_long),
            Some(ModelFault::ContentPolicy) => Some(&self.forbidden),
            _ => None,
        };
        match special {
            Some(list) => unvisited(list.iter().flat_map(|list| list.iter()), visited),
            None => self.reachable(visited),
        }
    }

    /// Returns the models that can be reached from the request's own: breadth first, each once.
    fn reachable(&self, visited: &[Arc<str>]) -> Vec<Arc<str>> {
        let Some(own) = visited.first() else { return Vec::new() };
        let Some(first) = self.after.get(own) else {
            return unvisited(self.otherwise.iter(), visited);
        };
        let mut found: Vec<Arc<str>> = first.to_vec();
        let mut seen: HashSet<Arc<str>> = found.iter().cloned().chain([own.clone()]).collect();
        let mut at = 0;
        while let Some(model) = found.get(at).cloned() {
            at += 1;
            for next in self.after.get(&model).into_iter().flat_map(|list| list.iter()) {
                if seen.insert(next.clone()) {
                    found.push(next.clone());
                }
            }
        }
        unvisited(found.iter(), visited)
    }
}

fn unvisited<'a>(
    models: impl Iterator<Item = &'a Arc<str>>,
    visited: &[Arc<str>],
) -> Vec<Arc<str>> {
    models.filter(|model| !visited.contains(model)).cloned().collect()
}

fn checked<M: Into<Arc<str>>>(
    models: impl IntoIterator<Item = M>,
) -> Result<Arc<[Arc<str>]>, ModelChainError> {
    let mut seen = HashSet::new();
    let mut list = Vec::new();
    for model in models {
        let model: Arc<str> = model.into();
        if model.is_empty() {
            return Err(ModelChainError::Empty);
        }
        if !seen.insert(model.clone()) {
            return Err(ModelChainError::Duplicate((&*model).into()));
        }
        list.push(model);
    }
    Ok(list.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(models: &[&str]) -> Vec<Arc<str>> {
        models.iter().map(|model| Arc::from(*model)).collect()
    }

    #[test]
    fn list_continues_after_the_requests_own_model() {
        let chain = ModelChain::list(["a", "b", "c"]).unwrap();
        for (visited, next) in [
            (&["a"][..], &["b", "c"][..]),
            (&["b"], &["c"]),
            (&["c"], &[]),
            (&["a", "b"], &["c"]),
            (&["unknown"], &[]),
        ] {
            assert_eq!(chain.after(&names(visited), None), names(next), "{visited:?}");
        }
    }

    #[test]
    fn default_applies_to_models_that_appear_nowhere() {
        let chain = ModelChain::list(["a", "b"]).unwrap().otherwise(["x", "a"]).unwrap();
        assert_eq!(chain.after(&names(&["unknown"]), None), names(&["x", "a"]));
        assert_eq!(chain.after(&names(&["unknown", "x"]), None), names(&["a"]));
        assert_eq!(chain.after(&names(&["b"]), None), names(&[]));
    }

    #[test]
    fn special_faults_use_their_own_lists_only() {
        let chain = ModelChain::list(["a", "b"]).unwrap().when_too_long(["wide"]).unwrap();
        let own = names(&["a"]);
        assert_eq!(chain.after(&own, Some(ModelFault::ContextTooLong)), names(&["wide"]));
        assert_eq!(chain.after(&own, Some(ModelFault::ContentPolicy)), names(&[]));
        assert_eq!(chain.after(&own, Some(ModelFault::Overloaded)), names(&["b"]));
    }

    #[test]
    fn empty_or_repeated_name_is_an_error() {
        let twice = ModelChain::list(["a", "b", "a"]).unwrap_err();
        assert_eq!(twice, ModelChainError::Duplicate("a".into()));
        assert!(twice.to_string().contains("name it once"));
        assert_eq!(ModelChain::list([""]).unwrap_err(), ModelChainError::Empty);
        assert_eq!(ModelChain::map([("", ["a"])]).unwrap_err(), ModelChainError::Empty);
    }

    proptest! {
        #[test]
        fn map_with_cycles_ends_and_visits_each_model_once(
            edges in proptest::collection::btree_map("[a-f]", proptest::collection::btree_set("[a-f]", 0..5), 0..6),
            own in "[a-f]",
        ) {
            let chain = ModelChain::map(edges.clone()).unwrap();
            // Walk it as a request does, one model after the other.
            let mut visited = vec![Arc::<str>::from(own.as_str())];
            while let Some(next) = chain.after(&visited, None).first() {
                visited.push(next.clone());
                prop_assert!(visited.len() <= 7);
            }
            let unique: HashSet<_> = visited.iter().collect();
            prop_assert_eq!(unique.len(), visited.len());
            // All that is reachable was visited, and nothing else.
            let mut reachable = HashSet::from([own]);
            loop {
                let more: HashSet<_> = reachable.iter()
                    .filter_map(|model| edges.get(model)).flatten().cloned().collect();
                let before = reachable.len();
                reachable.extend(more);
                if reachable.len() == before { break; }
            }
            let visited: HashSet<String> = visited.iter().map(ToString::to_string).collect();
            prop_assert_eq!(visited, reachable);
        }
    }
}
