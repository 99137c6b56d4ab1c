use super::*;

fn turn(rate: f64, refused: u64) -> Turn {
    let wrk = Sample { requests: rate * 5.0, seconds: 5.0, p50: 1.0, p99: 2.0, refused, broken: 0 };
    Turn::new(wrk, Duration::from_micros(20).mul_f64(rate * 5.0))
}

#[test]
fn ours_stands_beside_each_peer_in_each_case() {
    let measured = [
        (Peer::Sluicegate, vec![turn(50.0, 0), turn(60.0, 0), turn(40.0, 0)]),
        (Peer::Nginx, vec![turn(60.0, 0)]),
        (Peer::Haproxy, vec![turn(50.0, 0)]),
        (Peer::BareHyper, vec![turn(50.0, 0)]),
    ];
    let rows = rows(&measured);
    assert_eq!(rows.len(), 12);
    let verdicts: Vec<_> =
        rows.iter().map(|row| (row.case.as_str(), row.peer.as_str(), row.met)).take(4).collect();
    let expected = [
        ("requests", "nginx", Some(false)),
        ("requests", "HAProxy", None),
        ("requests", "bare hyper", Some(true)),
        ("latency p50", "nginx", None),
    ];
    assert_eq!(verdicts, expected);
    assert_eq!(rows[0].ours, Some(Summary { median: 50.0, min: 40.0, max: 60.0 }));
    assert_eq!((rows[9].case.as_str(), rows[9].unit), ("CPU a request", "us"));
    assert!(rows[9].ratio.is_some_and(|ratio| (ratio - 1.0).abs() < 1e-9), "{:?}", rows[9]);
    assert_eq!(measured.iter().find_map(fault), None);
}

#[test]
fn peers_alone_and_ours_alone_have_their_rows() {
    let peers = rows(&[(Peer::Nginx, vec![turn(60.0, 0)]), (Peer::BareHyper, vec![turn(60.0, 0)])]);
    assert_eq!(peers.len(), 8);
    assert!(peers.iter().all(|row| row.ours.is_none() && row.theirs.is_some() && row.met.is_none()));
    let ours = rows(&[(Peer::Sluicegate, vec![turn(60.0, 0)])]);
    assert_eq!(ours.len(), 4);
    assert!(ours.iter().all(|row| row.ours.is_some() && row.theirs.is_none()));
}

#[test]
fn a_proxy_that_refused_is_marked_and_reported() {
    let measured =
        [(Peer::Sluicegate, vec![turn(50.0, 0)]), (Peer::Nginx, vec![turn(90.0, 0), turn(90.0, 7)])];
    assert_eq!(rows(&measured)[0].peer, "nginx (7 answers not 2xx, 0 socket errors)");
    assert_eq!(rows(&measured)[0].met, Some(false));
    assert_eq!(measured.iter().filter_map(fault).count(), 1);
    let ours = [(Peer::Sluicegate, vec![turn(50.0, 3)]), (Peer::Nginx, vec![turn(90.0, 0)])];
    assert!(rows(&ours)[0].case.contains("sluicegate: 3 answers not 2xx"));
    assert_eq!(rows(&ours)[0].met, Some(false));
}

#[test]
fn a_round_without_an_answer_is_a_fault() {
    let measured = (Peer::Nginx, vec![turn(0.0, 0)]);
    assert!(fault(&measured).is_some_and(|what| what.contains("without an answer")));
    assert!(measured.1[0].cpu.is_finite());
}
