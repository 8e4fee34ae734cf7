//! A writable `/tmp` that is nothing but memory of this process: bounded, seen by one call, gone with it.
//! No file of the host is behind it.

use std::collections::{BTreeMap, HashMap};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::FileType;

use super::entry::{DirEntry, Status};
use super::errno::Errno;

/// What each file and directory is charged besides its bytes, so that empty ones cannot be created without limit.
const NODE_BYTES: u64 = 256;
/// The longest name, as of Linux.
const NAME_BYTES: usize = 255;
/// The topmost directory.
pub(crate) const TOP: u64 = 1;
/// The device number that tells these files from the host's.
const DEVICE: u64 = u64::MAX;

/// Files and directories by their inode numbers.
#[derive(Debug)]
pub(crate) struct Scratch {
    nodes: HashMap<u64, Node>,
    next: u64,
    used: u64,
    limit: u64,
}

#[derive(Debug)]
struct Node {
    body: Body,
    /// How many descriptors hold it: a file without a name lives on while it is open.
    opened: u32,
    named: bool,
    modified_ns: u64,
}

#[derive(Debug)]
enum Body {
    File(Vec<u8>),
    Dir { parent: u64, names: BTreeMap<String, u64> },
}

/// How a file is opened.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct How {
    pub(crate) create: bool,
    pub(crate) exclusive: bool,
    pub(crate) truncate: bool,
}

impl Scratch {
    /// An empty directory for at most `limit` bytes.
    pub(crate) fn new(limit: u64) -> Self {
        let top = Node::new(Body::Dir { parent: TOP, names: BTreeMap::new() });
        Self { nodes: HashMap::from([(TOP, top)]), next: TOP + 1, used: 0, limit }
    }

    /// Opens what `path` below the directory `base` leads to, and counts the descriptor.
    pub(crate) fn open(&mut self, base: u64, path: &str, how: How) -> Result<u64, Errno> {
        let inode = match self.find(base, path) {
            Ok(_) if how.create && how.exclusive => return Err(Errno::EXIST),
            Ok(inode) => inode,
            Err(Errno::NOENT) if how.create => self.make(base, path, |_| Body::File(Vec::new()))?,
            Err(errno) => return Err(errno),
        };
        if how.truncate {
            self.resize(inode, 0)?;
        }
        self.node(inode)?.opened += 1;
        Ok(inode)
    }

    /// Counts one descriptor less.
    pub(crate) fn close(&mut self, inode: u64) {
        if let Ok(node) = self.node(inode) {
            node.opened = node.opened.saturating_sub(1);
        }
        self.forget_unused(inode);
    }

    /// The inode that `path` below the directory `base` leads to.
    pub(crate) fn find(&self, base: u64, path: &str) -> Result<u64, Errno> {
        let mut at = base;
        for part in path.split('/').filter(|part| !matches!(*part, "" | ".")) {
            let (parent, names) = self.dir(at)?;
            at = match part {
                // Above the top is what was not granted.
                ".." if at == TOP => return Err(Errno::ACCES),
                ".." => parent,
                name => *names.get(name).ok_or(Errno::NOENT)?,
            };
        }
        Ok(at)
    }

    pub(crate) fn status(&self, inode: u64) -> Result<Status, Errno> {
        let node = self.nodes.get(&inode).ok_or(Errno::BADF)?;
        let (kind, size) = match &node.body {
            Body::File(bytes) => (FileType::RegularFile, bytes.len() as u64),
            Body::Dir { .. } => (FileType::Directory, 0),
        };
        let (links, modified_ns) = (u64::from(node.named), node.modified_ns);
        Ok(Status { device: DEVICE, inode, kind, links, size, modified_ns })
    }

    pub(crate) fn read(&self, inode: u64, buffer: &mut [u8], at: u64) -> Result<usize, Errno> {
        let Body::File(bytes) = &self.nodes.get(&inode).ok_or(Errno::BADF)?.body else {
            return Err(Errno::ISDIR);
        };
        let start = usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
        let length = buffer.len().min(bytes.len() - start);
        buffer[..length].copy_from_slice(&bytes[start..start + length]);
        Ok(length)
    }

    /// Writes at `at`, or at the end. Returns where the file's place is then.
    pub(crate) fn write(&mut self, inode: u64, data: &[u8], at: Option<u64>) -> Result<u64, Errno> {
        let size = self.status(inode)?.size;
        let start = at.unwrap_or(size);
        if data.is_empty() {
            return Ok(start);
        }
        let end = start.checked_add(data.len() as u64).ok_or(Errno::FBIG)?;
        if end > size {
            self.resize(inode, end)?;
        }
        let bytes = self.file(inode)?;
        // Below the limit, which fits into memory.
        let from = usize::try_from(start).map_err(|_| Errno::FBIG)?;
        bytes[from..from + data.len()].copy_from_slice(data);
        Ok(end)
    }

    /// Cuts a file, or lengthens it with zeros.
    pub(crate) fn resize(&mut self, inode: u64, size: u64) -> Result<(), Errno> {
        let old = self.file(inode)?.len() as u64;
        if size > old {
            self.charge(size - old)?;
        } else {
            self.used -= old - size;
        }
        let length = usize::try_from(size).map_err(|_| Errno::FBIG)?;
        let bytes = self.file(inode)?;
        bytes.resize(length, 0);
        if size < old {
            bytes.shrink_to_fit();
        }
        self.node(inode)?.modified_ns = now();
        Ok(())
    }

    pub(crate) fn make_dir(&mut self, base: u64, path: &str) -> Result<(), Errno> {
        if self.find(base, path).is_ok() {
            return Err(Errno::EXIST);
        }
        self.make(base, path, |parent| Body::Dir { parent, names: BTreeMap::new() }).map(drop)
    }

    /// Takes the name of a directory, if it is empty, or else of a file away.
    pub(crate) fn remove(&mut self, base: u64, path: &str, is_dir: bool) -> Result<(), Errno> {
        let inode = self.find(base, path)?;
        match &self.nodes.get(&inode).ok_or(Errno::BADF)?.body {
            Body::File(_) if is_dir => return Err(Errno::NOTDIR),
            Body::Dir { .. } if !is_dir => return Err(Errno::ISDIR),
            Body::Dir { names, .. } if !names.is_empty() => return Err(Errno::NOTEMPTY),
            _ if inode == TOP => return Err(Errno::ACCES),
            _ => {}
        }
        self.take_name(base, path)?;
        self.forget_unused(inode);
        Ok(())
    }

    pub(crate) fn rename(&mut self, from: (u64, &str), to: (u64, &str)) -> Result<(), Errno> {
        let inode = self.find(from.0, from.1)?;
        let is_dir =
            matches!(self.nodes.get(&inode).map(|node| &node.body), Some(Body::Dir { .. }));
        let (new_parent, new_name) = self.split(to.0, to.1)?;
        if inode == TOP || self.is_within(new_parent, inode) {
            return Err(Errno::INVAL);
        }
        // A directory that was removed while it was open takes nothing in.
        if !self.node(new_parent)?.named {
            return Err(Errno::NOENT);
        }
        match self.find(to.0, to.1) {
            Ok(same) if same == inode => return Ok(()),
            Ok(_) => self.remove(to.0, to.1, is_dir)?,
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
        let (_, old_name) = self.split(from.0, from.1)?;
        self.charge(new_name.len().saturating_sub(old_name.len()) as u64)?;
        self.take_name(from.0, from.1)?;
        let (parent, name) = self.split(to.0, to.1)?;
        let name = name.to_owned();
        if let Body::Dir { parent: above, .. } = &mut self.node(inode)?.body {
            *above = parent;
        }
        self.node(inode)?.named = true;
        self.names(parent)?.insert(name, inode);
        Ok(())
    }

    pub(crate) fn list(&self, inode: u64) -> Result<Vec<DirEntry>, Errno> {
        let (parent, names) = self.dir(inode)?;
        let entry = |name: &str, inode| {
            let kind = self.status(inode)?.kind;
            Ok(DirEntry { name: name.as_bytes().to_vec(), inode, kind })
        };
        let dots = [(".", inode), ("..", parent)].into_iter();
        let names = names.iter().map(|(name, &inode)| (name.as_str(), inode));
        dots.chain(names).map(|(name, inode)| entry(name, inode)).collect()
    }

    fn node(&mut self, inode: u64) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&inode).ok_or(Errno::BADF)
    }

    fn file(&mut self, inode: u64) -> Result<&mut Vec<u8>, Errno> {
        match &mut self.node(inode)?.body {
            Body::File(bytes) => Ok(bytes),
            Body::Dir { .. } => Err(Errno::ISDIR),
        }
    }

    fn dir(&self, inode: u64) -> Result<(u64, &BTreeMap<String, u64>), Errno> {
        match &self.nodes.get(&inode).ok_or(Errno::BADF)?.body {
            Body::Dir { parent, names } => Ok((*parent, names)),
            Body::File(_) => Err(Errno::NOTDIR),
        }
    }

    fn names(&mut self, inode: u64) -> Result<&mut BTreeMap<String, u64>, Errno> {
        let node = self.node(inode)?;
        node.modified_ns = now();
        match &mut node.body {
            Body::Dir { names, .. } => Ok(names),
            Body::File(_) => Err(Errno::NOTDIR),
        }
    }

    /// The directory that the last part of `path` is or would be in, and that part.
    fn split<'p>(&self, base: u64, path: &'p str) -> Result<(u64, &'p str), Errno> {
        let path = path.trim_end_matches('/');
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        match name {
            "" | "." | ".." => Err(Errno::INVAL),
            name if name.len() > NAME_BYTES => Err(Errno::NAMETOOLONG),
            name => Ok((self.find(base, above)?, name)),
        }
    }

    fn make(
        &mut self,
        base: u64,
        path: &str,
        body: impl FnOnce(u64) -> Body,
    ) -> Result<u64, Errno> {
        let (parent, name) = self.split(base, path)?;
        self.dir(parent)?;
        // A directory that was removed while it was open takes nothing in.
        if !self.node(parent)?.named {
            return Err(Errno::NOENT);
        }
        self.charge(NODE_BYTES + name.len() as u64)?;
        let inode = self.next;
        self.next += 1;
        self.nodes.insert(inode, Node::new(body(parent)));
        self.names(parent)?.insert(name.to_owned(), inode);
        Ok(inode)
    }

    fn take_name(&mut self, base: u64, path: &str) -> Result<(), Errno> {
        let (parent, name) = self.split(base, path)?;
        let inode = self.names(parent)?.remove(name).ok_or(Errno::NOENT)?;
        self.node(inode)?.named = false;
        Ok(())
    }

    /// Whether `inode` is `above` or below it.
    fn is_within(&self, mut inode: u64, above: u64) -> bool {
        loop {
            if inode == above {
                return true;
            }
            match self.dir(inode) {
                Ok((parent, _)) if inode != TOP => inode = parent,
                _ => return false,
            }
        }
    }

    fn charge(&mut self, bytes: u64) -> Result<(), Errno> {
        let used = self.used.checked_add(bytes).filter(|&used| used <= self.limit);
        self.used = used.ok_or(Errno::NOSPC)?;
        Ok(())
    }

    fn forget_unused(&mut self, inode: u64) {
        let unused = |node: &&Node| !node.named && node.opened == 0;
        if let Some(node) = self.nodes.get(&inode).filter(unused) {
            let bytes = if let Body::File(bytes) = &node.body { bytes.len() as u64 } else { 0 };
            // The name's own bytes stay charged: they are few, and a call is short.
            self.used -= bytes + NODE_BYTES;
            self.nodes.remove(&inode);
        }
    }
}

impl Node {
    fn new(body: Body) -> Self {
        Self { body, opened: 0, named: true, modified_ns: now() }
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREATE: How = How { create: true, exclusive: false, truncate: false };

    fn read(scratch: &Scratch, inode: u64) -> Vec<u8> {
        let mut buffer = [0; 64];
        let length = scratch.read(inode, &mut buffer, 0).expect("a file");
        buffer[..length].to_vec()
    }

    #[test]
    fn what_is_written_is_read() {
        let mut scratch = Scratch::new(1 << 20);
        scratch.make_dir(TOP, "a").expect("new");
        let inode = scratch.open(TOP, "a/b", CREATE).expect("new");
        assert_eq!(scratch.write(inode, b"hello", Some(0)), Ok(5));
        assert_eq!(scratch.write(inode, b"!", None), Ok(6));
        assert_eq!(scratch.write(inode, b"J", Some(0)), Ok(1));
        assert_eq!(read(&scratch, inode), b"Jello!");
        assert_eq!(scratch.find(TOP, "./a/../a/b"), Ok(inode));
        scratch.resize(inode, 2).expect("shorter");
        assert_eq!(read(&scratch, inode), b"Je");
        let names: Vec<_> = scratch.list(TOP).expect("a directory");
        assert_eq!(names.last().map(|entry| entry.name.clone()), Some(b"a".to_vec()));
    }

    #[test]
    fn nothing_leads_out_and_nothing_in_itself() {
        let mut scratch = Scratch::new(1 << 20);
        assert_eq!(scratch.find(TOP, "../etc/passwd"), Err(Errno::ACCES));
        scratch.make_dir(TOP, "a").expect("new");
        scratch.make_dir(TOP, "a/b").expect("new");
        assert_eq!(scratch.rename((TOP, "a"), (TOP, "a/b/c")), Err(Errno::INVAL));
        assert_eq!(scratch.remove(TOP, "a", true), Err(Errno::NOTEMPTY));
        assert_eq!(scratch.remove(TOP, "a", false), Err(Errno::ISDIR));
        assert_eq!(scratch.open(TOP, "a/b/..", How::default()), scratch.find(TOP, "a"));
    }

    #[test]
    fn space_is_bounded_and_comes_back() {
        let mut scratch = Scratch::new(2000);
        let inode = scratch.open(TOP, "f", CREATE).expect("new");
        assert_eq!(scratch.write(inode, &[1; 4000], Some(0)), Err(Errno::NOSPC));
        assert_eq!(scratch.write(inode, b"x", Some(u64::MAX - 1)), Err(Errno::NOSPC));
        assert_eq!(scratch.write(inode, &[1; 1500], Some(0)), Ok(1500));
        scratch.remove(TOP, "f", false).expect("its name goes");
        assert_eq!(read(&scratch, inode).len(), 64, "open, it lives on");
        scratch.close(inode);
        let made = (0..100).take_while(|i| scratch.make_dir(TOP, &i.to_string()).is_ok()).count();
        assert_eq!(made, 7, "2,000 bytes by 257 each");
    }

    #[test]
    fn a_longer_name_is_charged_and_none_is_endless() {
        let mut scratch = Scratch::new(NODE_BYTES + 200);
        scratch.open(TOP, "f", CREATE).expect("new");
        let name = |length| "n".repeat(length);
        assert_eq!(scratch.rename((TOP, "f"), (TOP, &name(256))), Err(Errno::NAMETOOLONG));
        assert_eq!(scratch.open(TOP, &name(256), CREATE), Err(Errno::NAMETOOLONG));
        assert_eq!(scratch.rename((TOP, "f"), (TOP, &name(255))), Err(Errno::NOSPC));
        assert_eq!(scratch.rename((TOP, "f"), (TOP, &name(200))), Ok(()));
    }

    #[test]
    fn nothing_is_moved_into_a_removed_directory() {
        let mut scratch = Scratch::new(1 << 20);
        scratch.make_dir(TOP, "gone").expect("new");
        let gone = scratch.open(TOP, "gone", How::default()).expect("there");
        scratch.remove(TOP, "gone", true).expect("empty");
        let file = scratch.open(TOP, "f", CREATE).expect("new");
        assert_eq!(scratch.rename((TOP, "f"), (gone, "f")), Err(Errno::NOENT));
        assert_eq!(scratch.find(TOP, "f"), Ok(file));
    }

    #[test]
    fn an_empty_write_lengthens_nothing() {
        let mut scratch = Scratch::new(1 << 20);
        let file = scratch.open(TOP, "f", CREATE).expect("new");
        assert_eq!(scratch.write(file, b"", Some(100)), Ok(100));
        assert_eq!(scratch.status(file).map(|status| status.size), Ok(0));
    }

    #[test]
    fn a_file_takes_the_place_of_another() {
        let mut scratch = Scratch::new(1 << 20);
        let new = scratch.open(TOP, "new", CREATE).expect("new");
        scratch.open(TOP, "old", CREATE).expect("new");
        scratch.rename((TOP, "new"), (TOP, "old")).expect("replaced");
        assert_eq!(scratch.find(TOP, "old"), Ok(new));
        assert_eq!(scratch.find(TOP, "new"), Err(Errno::NOENT));
        let again = How { exclusive: true, ..CREATE };
        assert_eq!(scratch.open(TOP, "old", again), Err(Errno::EXIST));
    }
}
