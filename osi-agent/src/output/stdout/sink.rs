//! Where lines go: a pipe, into which a line goes whole or not at all; or anything else, which is simply written.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionread, write};
use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};

const PAGE: usize = 4096;

/// Pages of a pipe: what the kernel gives any user (`fs.pipe-max-size`).
const PIPE_BYTES: usize = 1 << 20;

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// All of it is written.
    Written,
    /// There is no room for it now; nothing is written.
    Full,
}

/// A file descriptor and, for a pipe, what is known of the room in it.
pub(super) struct Sink {
    fd: OwnedFd,
    pipe: Option<Pipe>,
}

/// A pipe holds a number of pages, and a write takes at most its length in pages, rounded up. The kernel tells the bytes
/// that are unread; our own writes tell how many pages these can take.
struct Pipe {
    pages: usize,
    /// (bytes, pages) of writes that may not be read yet, oldest first.
    unread: VecDeque<(usize, usize)>,
}

impl Sink {
    pub(super) fn new(fd: OwnedFd) -> Self {
        let pipe = fcntl_getpipe_size(&fd).ok().map(|bytes| {
            // What stands in it already may take a page for each byte.
            let strange = unread(&fd);
            Pipe {
                pages: bytes / PAGE,
                unread: VecDeque::from([(strange, strange)]),
            }
        });
        Self { fd, pipe }
    }

    /// Whether a line of this length can be written whole now. What is no pipe takes everything, in its own time.
    pub(super) fn fits(&mut self, bytes: usize) -> bool {
        let Some(pipe) = &mut self.pipe else {
            return true;
        };
        let pages = bytes.div_ceil(PAGE);
        if pages > pipe.pages {
            // A line that never fits: ask for a larger pipe, else write it in parts as the reader goes.
            let wanted = bytes.next_power_of_two().max(PIPE_BYTES);
            match fcntl_setpipe_size(&self.fd, wanted) {
                Ok(bytes) => pipe.pages = bytes / PAGE,
                Err(_) => return true,
            }
        }
        pipe.used(unread(&self.fd)) + pages <= pipe.pages
    }

    /// Writes all of it, or nothing where the pipe has no room for all of it.
    pub(super) fn offer(&mut self, bytes: &[u8]) -> io::Result<Offer> {
        if self.reader_left() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if !self.fits(bytes.len()) {
            return Ok(Offer::Full);
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            match write(&self.fd, rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => rest = &rest[written..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait_writable(),
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(pipe) = &mut self.pipe {
            pipe.wrote(bytes.len());
        }
        Ok(Offer::Written)
    }

    /// Whether nobody can read any more.
    pub(super) fn reader_left(&self) -> bool {
        let mut fds = [PollFd::new(&self.fd, PollFlags::empty())];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // A terminal that hung up says HUP, a pipe or socket without reader ERR.
        poll(&mut fds, Some(&now)).is_ok()
            && fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
    }

    /// Somebody else made the file non-blocking.
    fn wait_writable(&self) {
        // Whatever it answers, the next write tells.
        let _ = poll(&mut [PollFd::new(&self.fd, PollFlags::OUT)], None);
    }
}

impl Pipe {
    /// The kernel appends a short write to the last page where it fits.
    fn wrote(&mut self, bytes: usize) {
        match self.unread.back_mut() {
            Some((last, 1)) if *last + bytes <= PAGE => *last += bytes,
            Some(_) | None => self.unread.push_back((bytes, bytes.div_ceil(PAGE))),
        }
    }

    /// At most this many pages are in use while so many bytes are unread.
    fn used(&mut self, unread: usize) -> usize {
        let mut bytes: usize = self.unread.iter().map(|(bytes, _)| bytes).sum();
        while let Some((oldest, _)) = self
            .unread
            .front()
            .filter(|(oldest, _)| bytes - oldest >= unread)
        {
            bytes -= oldest;
            self.unread.pop_front();
        }
        self.unread.iter().map(|(_, pages)| pages).sum()
    }
}

fn unread(fd: &OwnedFd) -> usize {
    ioctl_fionread(fd)
        .ok()
        .and_then(|bytes| usize::try_from(bytes).ok())
        .unwrap_or_default()
}
