#![doc = include_str!("start.md")]
#![doc = include_str!("codes.md")]
#![doc = include_str!("checklist.md")]
#![doc = include_str!("accounts.md")]
#![doc = include_str!("models.md")]
#![doc = include_str!("stack.md")]
#![doc = include_str!("jobs.md")]

#[cfg(test)]
mod tests;
