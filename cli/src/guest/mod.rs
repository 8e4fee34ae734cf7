//! `belljar guest`: the Pythons of the sandbox, one directory each.

mod build;
mod check;
mod installed;

use std::path::Path;

use anyhow::Result;

use crate::args::{GuestAction, GuestArgs};
use crate::exit::causes;
use crate::install;
use crate::serve::announce;
use installed::installed;

pub(crate) fn run(args: &GuestArgs) -> Result<()> {
    let dir = install::guest_dir(args.guest_dir.as_deref())?;
    match &args.action {
        GuestAction::List => list(&dir),
        GuestAction::Check { python } => check::run(&dir, *python),
        GuestAction::Build { python } => build::run(&dir, *python),
    }
}

fn list(dir: &Path) -> Result<()> {
    let guests = installed(dir)?;
    if guests.is_empty() {
        announce(&format!("no guest in {}: `belljar guest build` builds one", dir.display()));
    }
    for guest in guests {
        let about = guest.description().map_or_else(
            |error| format!("unusable: {}", causes(&error)),
            |about| format!("Python {}  dill {}", about.python, about.dill),
        );
        let size = guest.disk_bytes() >> 20;
        announce(&format!("{}  {about}  {size} MiB  {}", guest.python, guest.dir.display()));
    }
    Ok(())
}
