//! Bytes in and out of what is open, and the places at which they are.

use super::context::Wasi;
use super::entry::{Body, Entry, OpenFile};
use super::errno::Errno;
use super::files::Files;
use super::http::HttpDevice;
use super::{host, progress, scratch::Scratch};

impl Wasi {
    /// Writes `data` at the place of `fd`, or at `offset`.
    pub(crate) fn write(
        &mut self,
        fd: u32,
        data: &mut [u8],
        offset: Option<u64>,
    ) -> Result<usize, Errno> {
        match (self.files.look(fd)?, offset) {
            (Entry::Output(_) | Entry::Http | Entry::Progress, Some(_)) => Err(Errno::SPIPE),
            (&Entry::Output(stream), None) => self.sinks.write(stream, data),
            (Entry::Null, _) => Ok(data.len()),
            (Entry::Http, None) => self.files.http()?.write(data),
            (Entry::Progress, None) => {
                progress::write(self.files.progress.as_ref().ok_or(Errno::BADF)?, data)
            }
            _ => self.files.write(fd, data, offset),
        }
    }

    /// Reads at the place of `fd`, or at `offset`.
    pub(crate) fn read(
        &mut self,
        fd: u32,
        buffer: &mut [u8],
        offset: Option<u64>,
    ) -> Result<usize, Errno> {
        match (self.files.look(fd)?, offset) {
            (Entry::Input | Entry::Http, Some(_)) => Err(Errno::SPIPE),
            (Entry::Http, None) => Ok(self.files.http()?.read(buffer)),
            (Entry::Input | Entry::Null | Entry::Progress, _) => Ok(0),
            (Entry::Dir(_) | Entry::Root | Entry::ScratchDir(_), _) => Err(Errno::ISDIR),
            _ => self.files.read(fd, buffer, offset),
        }
    }
}

impl Files {
    fn http(&mut self) -> Result<&mut HttpDevice, Errno> {
        self.http.as_mut().ok_or(Errno::BADF)
    }

    fn read(&mut self, fd: u32, buffer: &mut [u8], offset: Option<u64>) -> Result<usize, Errno> {
        let (file, scratch) = self.file_and_scratch(fd)?;
        if !file.access.read {
            return Err(Errno::BADF);
        }
        let at = offset.unwrap_or(file.place);
        let read = match &file.body {
            Body::Host(file) => rustix::io::pread(file, buffer, at)?,
            Body::Scratch(inode) => scratch.ok_or(Errno::BADF)?.read(*inode, buffer, at)?,
        };
        if offset.is_none() {
            file.place = at + read as u64;
        }
        Ok(read)
    }

    /// Writes all or nothing.
    fn write(&mut self, fd: u32, data: &[u8], offset: Option<u64>) -> Result<usize, Errno> {
        let (file, scratch) = self.file_and_scratch(fd)?;
        let (Body::Scratch(inode), true) = (&file.body, file.access.write) else {
            return Err(Errno::BADF);
        };
        let at = (!file.access.append).then(|| offset.unwrap_or(file.place));
        let end = scratch.ok_or(Errno::BADF)?.write(*inode, data, at)?;
        if offset.is_none() {
            file.place = end;
        }
        Ok(data.len())
    }

    /// Moves a file's place; the new one.
    pub(crate) fn seek(&mut self, fd: u32, by: i64, whence: u32) -> Result<u64, Errno> {
        if whence > 2 {
            return Err(Errno::INVAL);
        }
        match self.look(fd)? {
            Entry::Null => return Ok(0),
            Entry::Input | Entry::Output(_) | Entry::Http | Entry::Progress => {
                return Err(Errno::SPIPE);
            }
            _ => {}
        }
        let (file, scratch) = self.file_and_scratch(fd)?;
        let from = match (whence, &file.body) {
            (0, _) => 0,
            (1, _) => file.place,
            (_, Body::Host(file)) => host::status(file)?.size,
            (_, Body::Scratch(inode)) => scratch.ok_or(Errno::BADF)?.status(*inode)?.size,
        };
        file.place = from.checked_add_signed(by).ok_or(Errno::INVAL)?;
        Ok(file.place)
    }

    /// Cuts or lengthens a file of the scratch directory.
    pub(crate) fn resize(&mut self, fd: u32, size: u64) -> Result<(), Errno> {
        let (file, scratch) = self.file_and_scratch(fd)?;
        match file.body {
            Body::Host(_) => Err(Errno::ACCES),
            Body::Scratch(_) if !file.access.write => Err(Errno::INVAL),
            Body::Scratch(inode) => scratch.ok_or(Errno::BADF)?.resize(inode, size),
        }
    }

    fn file_and_scratch(
        &mut self,
        fd: u32,
    ) -> Result<(&mut OpenFile, Option<&mut Scratch>), Errno> {
        match self.entries.get_mut(fd as usize) {
            Some(Some(Entry::File(file))) => Ok((file, self.scratch.as_mut())),
            _ => Err(Errno::BADF),
        }
    }
}
