//! Bodies that are far larger than memory should ever grow by.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use tests::gateway::Gateway;
use tests::volume::Volume;

const GIB: u64 = 1 << 30;
const CHUNK_BYTES: u64 = 1 << 20;
/// What buffers of sockets, runtime and allocator may take; a thousandth of what goes through.
const GROWTH_BYTES_MAX: u64 = 16 << 20;

/// A chunked upload of zeros, and how it went.
struct Upload {
    /// Bytes of the body that could be sent.
    sent: u64,
    /// The most that the gateway's memory grew meanwhile.
    growth: u64,
    answer: String,
}

fn gateway(volume: &Volume, max_body: &str) -> Gateway {
    Gateway::start(&format!(
        "[route.all]\nmatch = \"/*\"\nto = \"http://{}\"\nmax-body = \"{max_body}\"\n",
        volume.address
    ))
}

/// Sends up to `bytes` while reading what comes back, as a client must to see a refusal in time.
fn upload(gateway: &Gateway, bytes: u64) -> Upload {
    let mut stream = TcpStream::connect(gateway.address()).unwrap();
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
        .unwrap();
    let answer = read_answer(&stream);
    let mut chunk = format!("{CHUNK_BYTES:x}\r\n").into_bytes();
    chunk.resize(chunk.len() + CHUNK_BYTES as usize, 0);
    chunk.extend_from_slice(b"\r\n");
    let (before, mut largest, mut sent) = (gateway.resident_bytes(), 0, 0);
    while sent < bytes && !answer.is_finished() && stream.write_all(&chunk).is_ok() {
        sent += CHUNK_BYTES;
        if sent.is_multiple_of(16 * CHUNK_BYTES) {
            largest = largest.max(gateway.resident_bytes());
        }
    }
    let _ = stream.write_all(b"0\r\n\r\n");
    let answer = answer.join().expect("the reader does not panic");
    Upload { sent, growth: largest.saturating_sub(before), answer }
}

fn read_answer(stream: &TcpStream) -> JoinHandle<String> {
    let mut stream = stream.try_clone().unwrap();
    std::thread::spawn(move || {
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    })
}

#[test]
fn an_upload_of_ten_gibibytes_is_cut_at_its_limit_in_flat_memory() {
    let volume = Volume::start();
    let gateway = gateway(&volume, "1GiB");
    let upload = upload(&gateway, 10 * GIB);
    assert!(upload.answer.starts_with("HTTP/1.1 413 "), "{}", upload.answer);
    assert!(upload.answer.contains("body-too-large"), "{}", upload.answer);
    let received = volume.received.load(Ordering::Relaxed);
    assert!(received <= GIB + GIB / 100, "the upstream got no more than the limit: {received}");
    // What is under way in the buffers of two sockets, and in the gateway.
    assert!((GIB..GIB + 64 * CHUNK_BYTES).contains(&upload.sent), "{} bytes were taken", upload.sent);
    assert!(upload.growth < GROWTH_BYTES_MAX, "memory grew by {} bytes", upload.growth);
    eprintln!(
        "cut after {} bytes sent, {received} received, memory grew by {} KiB",
        upload.sent,
        upload.growth >> 10
    );
}

#[test]
fn an_upload_below_its_limit_streams_through_in_flat_memory() {
    let volume = Volume::start();
    let gateway = gateway(&volume, "10GiB");
    let upload = upload(&gateway, 2 * GIB);
    assert!(upload.answer.starts_with("HTTP/1.1 200 "), "{}", upload.answer);
    assert_eq!(upload.sent, 2 * GIB);
    assert!(volume.received.load(Ordering::Relaxed) >= 2 * GIB);
    assert!(upload.growth < GROWTH_BYTES_MAX, "memory grew by {} bytes", upload.growth);
    eprintln!("{} bytes through, memory grew by {} KiB", upload.sent, upload.growth >> 10);
}
