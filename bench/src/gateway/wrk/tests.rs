use super::*;

/// As wrk 4.1.0 prints it.
const GOOD: &str = "\
Running 5s test @ http://127.0.0.1:8080/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.21ms  342.02us  12.15ms   92.58%
    Req/Sec    53.12k     2.63k   57.27k    78.00%
  Latency Distribution
     50%    1.15ms
     75%    1.30ms
     90%    1.48ms
     99%  960.00us
  264213 requests in 5.00s, 318.97MB read
Requests/sec:  52837.57
Transfer/sec:     63.79MB
";

#[test]
fn a_good_turn() {
    let expected = Sample { requests: 264_213.0, seconds: 5.0, p50: 1.15, p99: 0.96, refused: 0, broken: 0 };
    assert_eq!(parse(GOOD).unwrap(), expected);
}

#[test]
fn a_bad_turn_says_so() {
    let bad = GOOD.replace(
        "Requests/sec",
        "  Socket errors: connect 0, read 3, write 1, timeout 2\n  Non-2xx or 3xx responses: 17\nRequests/sec",
    );
    let sample = parse(&bad).unwrap();
    assert_eq!((sample.refused, sample.broken), (17, 6));
}

#[test]
fn units() {
    for (text, expected) in [("500.00us", 0.5), ("1.50ms", 1.5), ("2.00s", 2000.0), ("1.50m", 90_000.0)] {
        assert_eq!(milliseconds(text), Some(expected), "{text}");
    }
    for text in ["", "5", "ms", "1.0 parsec", "1.0é"] {
        assert_eq!(milliseconds(text), None, "{text}");
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    for (missing, named) in [("50%", "median"), ("99%", "99th"), (" requests in ", "requests")] {
        let error = parse(&GOOD.replace(missing, "??")).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
    assert!(parse(&GOOD.replace("5.00s,", "0.00s,")).is_err());
    assert!(parse("unable to connect to 127.0.0.1:1 Connection refused").is_err());
}
