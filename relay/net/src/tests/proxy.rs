//! A path that can be cut: a UDP relay in front of a node.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

pub(super) struct Path {
    pub(super) address: SocketAddr,
    cut: Arc<AtomicBool>,
    above: Arc<UdpSocket>,
    task: JoinHandle<()>,
}

impl Path {
    /// For one child.
    pub(super) async fn to(parent: SocketAddr) -> Self {
        let loopback = (Ipv4Addr::LOCALHOST, 0);
        let below = UdpSocket::bind(loopback).await.unwrap();
        let above = Arc::new(UdpSocket::bind(loopback).await.unwrap());
        above.connect(parent).await.unwrap();
        let address = below.local_addr().unwrap();
        let cut = Arc::new(AtomicBool::new(false));
        let is_cut = Arc::clone(&cut);
        let parent_side = Arc::clone(&above);
        let task = tokio::spawn(async move {
            let (mut from_below, mut from_above) = ([0; 65_536], [0; 65_536]);
            let mut child = None;
            loop {
                tokio::select! {
                    Ok((length, from)) = below.recv_from(&mut from_below) => {
                        child = Some(from);
                        if !is_cut.load(Ordering::Relaxed) {
                            let _ = parent_side.send(&from_below[..length]).await;
                        }
                    }
                    Ok(length) = parent_side.recv(&mut from_above) => if let Some(child) = child
                        && !is_cut.load(Ordering::Relaxed)
                    {
                        let _ = below.send_to(&from_above[..length], child).await;
                    }
                }
            }
        });
        Self {
            address,
            cut,
            above,
            task,
        }
    }

    /// To another parent.
    pub(super) async fn lead_to(&self, parent: SocketAddr) {
        self.above.connect(parent).await.unwrap();
    }

    pub(super) fn set_cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::Relaxed);
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        self.task.abort();
    }
}
