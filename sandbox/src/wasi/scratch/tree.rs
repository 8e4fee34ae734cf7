//! Nodes and their names. What each holds is charged, at what it takes of this process's memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use belljar_core::files::MAX_NAME_BYTES;

use super::now;
use crate::wasi::entry::Times;
use crate::wasi::errno::Errno;

/// What each file and directory is charged besides its bytes and its name: about what it takes in the
/// tables here, so that empty ones cannot be created without limit.
pub(super) const NODE_BYTES: u64 = 512;
/// The longest name, as of Linux.
const NAME_BYTES: usize = 255;
/// The topmost directory.
pub(crate) const TOP: u64 = 1;

/// Files and directories by their inode numbers.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: HashMap<u64, Node>,
    next: u64,
    used: u64,
    limit: u64,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) body: Body,
    /// The directory that it is in, or was in when it lost its name.
    pub(super) parent: u64,
    pub(super) name: Option<Arc<str>>,
    /// How many descriptors hold it: a file without a name lives on while it is open.
    pub(super) opened: u32,
    pub(super) times: Times,
}

#[derive(Debug)]
pub(super) enum Body {
    File(Vec<u8>),
    /// Its entries by name, and by inode number, which is the order in which they are listed.
    Dir {
        names: BTreeMap<Arc<str>, u64>,
        order: BTreeMap<u64, Arc<str>>,
    },
}

/// The last part of a path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Last<'p> {
    /// The directory that it is or would be in.
    pub(super) parent: u64,
    pub(super) name: &'p str,
    /// A slash follows: it must be a directory.
    pub(super) slash: bool,
}

impl Body {
    pub(super) const fn empty_dir() -> Self {
        Self::Dir { names: BTreeMap::new(), order: BTreeMap::new() }
    }
}

impl Tree {
    pub(super) fn new(limit: u64) -> Self {
        let top = Node::new(Body::empty_dir(), TOP, Arc::from(""));
        Self { nodes: HashMap::from([(TOP, top)]), next: TOP + 1, used: 0, limit }
    }

    pub(super) const fn is_untouched(&self) -> bool {
        self.next == TOP + 1
    }

    pub(super) fn look(&self, inode: u64) -> Result<&Node, Errno> {
        // One that is gone can only be the parent of a removed directory.
        self.nodes.get(&inode).ok_or(Errno::NOENT)
    }

    pub(super) fn node(&mut self, inode: u64) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&inode).ok_or(Errno::NOENT)
    }

    pub(super) fn file(&mut self, inode: u64) -> Result<&mut Vec<u8>, Errno> {
        match &mut self.node(inode)?.body {
            Body::File(bytes) => Ok(bytes),
            Body::Dir { .. } => Err(Errno::ISDIR),
        }
    }

    pub(super) fn is_dir(&self, inode: u64) -> bool {
        matches!(self.nodes.get(&inode).map(|node| &node.body), Some(Body::Dir { .. }))
    }

    /// The inode that `path` below the directory `base` leads to.
    pub(super) fn find(&self, base: u64, path: &str) -> Result<u64, Errno> {
        if path.is_empty() {
            return Err(Errno::NOENT);
        }
        if path.starts_with('/') {
            return Err(Errno::ACCES);
        }
        let mut at = base;
        for part in path.split('/') {
            // Also in front of nothing: a slash, or a dot, comes after directories only.
            let node = self.look(at)?;
            let Body::Dir { names, .. } = &node.body else { return Err(Errno::NOTDIR) };
            at = match part {
                "" | "." => at,
                // Above the top is what was not granted.
                ".." if at == TOP => return Err(Errno::ACCES),
                ".." => node.parent,
                name if name.len() > NAME_BYTES => return Err(Errno::NAMETOOLONG),
                name => *names.get(name).ok_or(Errno::NOENT)?,
            };
        }
        Ok(at)
    }

    /// The last part of `path`. `BUSY` where it is none to give or to take: `.` or `..`.
    pub(super) fn last<'p>(&self, base: u64, path: &'p str) -> Result<Last<'p>, Errno> {
        let bare = path.trim_end_matches('/');
        let (above, name) = bare.rsplit_once('/').unwrap_or((".", bare));
        if matches!(name, "" | "." | "..") || path.starts_with('/') {
            return self.find(base, path).and(Err(Errno::BUSY));
        }
        let parent = self.find(base, above)?;
        if !self.is_dir(parent) {
            return Err(Errno::NOTDIR);
        }
        Ok(Last { parent, name, slash: bare.len() < path.len() })
    }

    /// Whether there is something of that name already.
    pub(super) fn has(&self, last: Last<'_>) -> bool {
        match self.nodes.get(&last.parent).map(|node| &node.body) {
            Some(Body::Dir { names, .. }) => names.contains_key(last.name),
            _ => false,
        }
    }

    /// Whether `inode` is `above` or below it.
    pub(super) fn is_within(&self, mut inode: u64, above: u64) -> bool {
        loop {
            if inode == above {
                return true;
            }
            match self.nodes.get(&inode) {
                Some(node) if inode != TOP => inode = node.parent,
                _ => return false,
            }
        }
    }

    /// Refuses a name that cannot be made: in a directory that was removed while it was open, or one that
    /// is too long.
    pub(super) fn can_take(&self, last: Last<'_>) -> Result<(), Errno> {
        if last.name.len() > NAME_BYTES {
            return Err(Errno::NAMETOOLONG);
        }
        self.look(last.parent)?.name.as_ref().map(drop).ok_or(Errno::NOENT)
    }

    pub(super) fn make(&mut self, last: Last<'_>, body: Body) -> Result<u64, Errno> {
        self.can_take(last)?;
        self.charge(0, NODE_BYTES as usize + last.name.len())?;
        let (inode, name) = (self.next, Arc::from(last.name));
        self.next += 1;
        self.nodes.insert(inode, Node::new(body, last.parent, Arc::clone(&name)));
        self.insert(last.parent, name, inode)?;
        Ok(inode)
    }

    /// Takes a name away. What it named is left, and all charges.
    pub(super) fn take_name(&mut self, last: Last<'_>) -> Result<u64, Errno> {
        let node = self.node(last.parent)?;
        node.times.written();
        let Body::Dir { names, order } = &mut node.body else { return Err(Errno::NOTDIR) };
        let inode = names.remove(last.name).ok_or(Errno::NOENT)?;
        order.remove(&inode);
        self.node(inode)?.name = None;
        Ok(inode)
    }

    /// Gives what is named `old` the name `new`, which is free and was charged.
    pub(super) fn move_name(&mut self, old: Last<'_>, new: Last<'_>) -> Result<(), Errno> {
        let inode = self.take_name(old)?;
        let name = Arc::from(new.name);
        let node = self.node(inode)?;
        (node.parent, node.name) = (new.parent, Some(Arc::clone(&name)));
        node.times.changed = now();
        self.insert(new.parent, name, inode)
    }

    fn insert(&mut self, dir: u64, name: Arc<str>, inode: u64) -> Result<(), Errno> {
        let node = self.node(dir)?;
        node.times.written();
        let Body::Dir { names, order } = &mut node.body else { return Err(Errno::NOTDIR) };
        order.insert(inode, Arc::clone(&name));
        names.insert(name, inode);
        Ok(())
    }

    /// Cuts a file, or lengthens it with zeros. It is charged for the room that it has.
    pub(super) fn resize(&mut self, inode: u64, size: u64) -> Result<(), Errno> {
        let bytes = self.file(inode)?;
        let (length, room) = (bytes.len(), bytes.capacity());
        let size = usize::try_from(size).map_err(|_| Errno::NOSPC)?;
        if size > room {
            // Some more than asked for where there is space, or each small write would copy the file.
            let roomy = size.checked_add(length / 8).ok_or(Errno::NOSPC)?;
            let granted = |wanted: &usize| self.charge(room, *wanted).is_ok();
            let wanted = [roomy, size].into_iter().find(granted).ok_or(Errno::NOSPC)?;
            self.file(inode)?.reserve_exact(wanted - length);
        }
        let bytes = self.file(inode)?;
        bytes.resize(size, 0);
        if size < room / 2 {
            bytes.shrink_to_fit();
        }
        let now_room = bytes.capacity();
        if now_room < room {
            self.charge(room, now_room)?;
        }
        self.node(inode)?.times.written();
        Ok(())
    }

    /// Charges what took `old` bytes for `new`. Less is always granted.
    pub(super) fn charge(&mut self, old: usize, new: usize) -> Result<(), Errno> {
        let used = self.used.saturating_sub(old as u64).saturating_add(new as u64);
        if new > old && used > self.limit {
            return Err(Errno::NOSPC);
        }
        self.used = used;
        Ok(())
    }

    /// Shows `take` every file below the directory `inode`, whose path `path` is; it is as long afterwards.
    pub(super) fn each<E>(
        &self,
        inode: u64,
        path: &mut String,
        take: &mut impl FnMut(&str, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        match self.nodes.get(&inode).map(|node| &node.body) {
            Some(Body::File(bytes)) => take(path, bytes),
            // Deeper than any name that can be kept.
            Some(Body::Dir { names, .. }) if path.len() <= MAX_NAME_BYTES => {
                let length = path.len();
                for (name, &inode) in names {
                    if length > 0 {
                        path.push('/');
                    }
                    path.push_str(name);
                    self.each(inode, path, take)?;
                    path.truncate(length);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn forget_unused(&mut self, inode: u64) {
        let unused = |node: &&Node| node.name.is_none() && node.opened == 0;
        let Some(node) = self.nodes.get(&inode).filter(unused) else { return };
        let bytes = if let Body::File(bytes) = &node.body { bytes.capacity() as u64 } else { 0 };
        self.used = self.used.saturating_sub(bytes + NODE_BYTES);
        self.nodes.remove(&inode);
    }
}

impl Node {
    fn new(body: Body, parent: u64, name: Arc<str>) -> Self {
        let at = now();
        let times = Times { accessed: at, modified: at, changed: at };
        Self { body, parent, name: Some(name), opened: 0, times }
    }
}

impl Times {
    /// Something was written now.
    fn written(&mut self) {
        self.modified = now();
        self.changed = self.modified;
    }
}
