//! Accepting when files run out, when clients leave early, when an address has too many, and when told to stop.

use std::cell::RefCell;
use std::io::Read;
use std::net::TcpStream as Client;

use super::*;
use crate::config::model::ListenLimits;

fn listener(limits: ListenLimits) -> (Arc<Listener>, std::net::TcpListener) {
    let socket = crate::listener::bind("web", SocketAddr::from(([127, 0, 0, 1], 0)), 1).unwrap().remove(0);
    let settings = Settings {
        name: "web".into(),
        tls: None,
        http2: true,
        proxy_protocol: false,
        check_server_name: true,
        fingerprint: false,
        access: None,
        limits,
        trusted: Arc::default(),
    };
    (Listener::new(socket.local_addr().unwrap(), settings), socket)
}

#[tokio::test(start_paused = true)]
async fn out_of_files_the_loop_rests_between_attempts_and_goes_on_afterwards() {
    let attempts = RefCell::new(0);
    let taken = RefCell::new(Vec::new());
    let started = Instant::now();
    let accept = async || {
        *attempts.borrow_mut() += 1;
        let attempt = *attempts.borrow();
        match attempt {
            1..=50 => Err(io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error())),
            51 => Ok(()),
            _ => std::future::pending().await,
        }
    };
    let mut take = |()| taken.borrow_mut().push(started.elapsed());
    let run = accept_all(accept, &mut take);
    let _ = tokio::time::timeout(Duration::from_secs(60), run).await;
    assert_eq!(*attempts.borrow(), 52);
    assert_eq!(*taken.borrow(), [50 * EXHAUSTED_REST], "one connection, after a rest for each failure");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_left_before_it_was_taken_costs_no_rest() {
    let attempts = RefCell::new(0);
    let accept = async || {
        *attempts.borrow_mut() += 1;
        if *attempts.borrow() > 1000 {
            std::future::pending::<()>().await;
        }
        Err::<(), _>(io::ErrorKind::ConnectionAborted.into())
    };
    let _ = tokio::time::timeout(Duration::from_millis(1), accept_all(accept, &mut |()| {})).await;
    assert_eq!(*attempts.borrow(), 1001);
}

#[tokio::test]
async fn connections_over_the_limit_of_their_address_are_reset_and_reported() {
    let limits = ListenLimits { connections_per_address_max: 1, ..ListenLimits::default() };
    let (listener, socket) = listener(limits);
    let address = listener.address();
    let refusals = Rc::new(RefCell::new(Vec::new()));
    let seen = refusals.clone();
    let refused: OnRefused = Rc::new(move |_, trusted, full| seen.borrow_mut().push((trusted, full)));
    let held = RefCell::new(Vec::new());
    let run = run(listener.clone(), socket, refused, |accepted| held.borrow_mut().push(accepted));
    let clients = tokio::task::spawn_blocking(move || {
        let first = Client::connect(address).unwrap();
        let mut second = Client::connect(address).unwrap();
        let end = second.read(&mut [0; 1]);
        assert!(matches!(end, Err(_) | Ok(0)), "the second connection ends: {end:?}");
        first
    });
    tokio::select! {
        _ = run => panic!("nobody stopped the listener"),
        client = clients => drop(client.unwrap()),
    }
    assert_eq!(held.borrow().len(), 1);
    assert_eq!(*refusals.borrow(), [(false, Full::Address)]);
    assert_eq!(listener.connections(), 1);
    held.borrow_mut().clear();
    assert_eq!(listener.connections(), 0);
}

#[tokio::test]
async fn stopping_takes_what_the_kernel_has_completed_and_closes_the_socket() {
    let (listener, socket) = listener(ListenLimits::default());
    let address = listener.address();
    let waiting = [Client::connect(address).unwrap(), Client::connect(address).unwrap()];
    listener.stop();
    let mut taken = 0;
    run(listener, socket, Rc::new(|_, _, _| {}), |_| taken += 1).await.unwrap();
    assert_eq!(taken, waiting.len());
    Client::connect(address).expect_err("nobody listens any more");
}
