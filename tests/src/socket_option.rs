//! Options of sockets that the libraries do not know.

use std::io;
use std::os::fd::AsRawFd;

use anyhow::{Context as _, Result};

/// The option's level, and the directions, of TLS in the kernel (`linux/tls.h`).
const SOL_TLS: libc::c_int = 282;
const TLS_TX: libc::c_int = 1;
const TLS_RX: libc::c_int = 2;
const TLS_1_3: u16 = 0x0304;
const AES_GCM_128: u16 = 51;

/// Lets the SYN wait for the first data (`TCP_FASTOPEN_CONNECT`): with a cookie for the peer, `connect()` only finds a port.
///
/// # Errors
/// When the kernel refuses.
pub fn connect_with_first_data(socket: &impl AsRawFd) -> Result<()> {
    let on = 1_u32.to_ne_bytes();
    set(socket, libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT, &on)
        .context("TCP_FASTOPEN_CONNECT is refused")
}

/// Bytes that were written and that the other end has not acknowledged (`SIOCOUTQ`).
///
/// # Errors
/// When the kernel refuses.
pub fn unacknowledged(socket: &impl AsRawFd) -> Result<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the kernel writes one int, which lives until the call is back.
    let outcome = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if outcome != 0 {
        return Err(io::Error::last_os_error()).context("SIOCOUTQ is refused");
    }
    Ok(bytes.try_into()?)
}

/// Which way.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// What is sent is encrypted.
    Out,
    /// What is received is decrypted.
    In,
}

/// Hands a connection's records over to the kernel (kTLS): TLS 1.3 with AES-128-GCM and this key, from the first record on. False
/// where this kernel has no TLS, or not this cipher.
///
/// # Errors
/// When the kernel refuses for another reason.
pub fn kernel_tls(socket: &impl AsRawFd, way: Way, key: [u8; 16]) -> Result<bool> {
    match set(socket, libc::IPPROTO_TCP, libc::TCP_ULP, b"tls\0") {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(false),
        outcome => outcome.context("TCP_ULP is refused")?,
    }
    // struct tls12_crypto_info_aes_gcm_128: version, cipher, IV, key, salt, number of the first record.
    let mut info = Vec::new();
    info.extend(TLS_1_3.to_ne_bytes());
    info.extend(AES_GCM_128.to_ne_bytes());
    info.extend([0; 8]);
    info.extend(key);
    info.extend([0; 4 + 8]);
    let direction = match way {
        Way::Out => TLS_TX,
        Way::In => TLS_RX,
    };
    match set(socket, SOL_TLS, direction, &info) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        outcome => outcome.context("the key is refused").map(|()| true),
    }
}

fn set(
    socket: &impl AsRawFd,
    level: libc::c_int,
    option: libc::c_int,
    value: &[u8],
) -> io::Result<()> {
    // SAFETY: the descriptor is open, and the kernel reads as many bytes as the value has, which lives through the call.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            value.as_ptr().cast(),
            value.len() as libc::socklen_t,
        )
    };
    if outcome == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
