//! Requests that are HTTP: good ones with something changed.

use anyhow::ensure;
use futures_util::{StreamExt, TryStreamExt, stream};
use hyper::Method;
use serde_json::{Value, json};
use tests::http::{Call, Client};
use tests::random::Random;

/// Requests under way at once.
const AT_ONCE: usize = 48;
/// One more than a body may have, in bytes.
const TOO_MANY_BYTES: usize = 256 * 1024 + 1;
/// How deep a document may nest that nobody should parse by recursion.
const DEPTH: usize = 100_000;

/// A request in the making.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Its method.
    pub method: String,
    /// Its path, perhaps with a query.
    pub path: String,
    /// Its headers.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Its body.
    pub body: Vec<u8>,
}

/// Sends so many requests. None may be answered as if the system were at fault, unless it is overloaded.
pub async fn send(client: &Client, known: &[String], count: u64, random: &mut Random) -> anyhow::Result<()> {
    let seeds: Vec<u64> = (0..count).map(|_| random.draw()).collect();
    let send = |seed: u64| async move {
        let mut random = Random::of(seed);
        let draft = spoilt(known, &mut random);
        let Some(call) = call(client, &draft) else { return Ok(()) };
        // A server that has seen enough of a body hangs up, and the answer may be lost with the rest of the request.
        let status = match call.await {
            Ok(answer) => answer.status,
            Err(error) if error.root_cause().is::<hyper::Error>() || error.root_cause().is::<std::io::Error>() => {
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let is_fault = status.is_server_error() && status != 503;
        ensure!(!is_fault, "{status}: {} {:?}: {draft:?}", draft.method, String::from_utf8_lossy(&draft.body));
        anyhow::Ok(())
    };
    stream::iter(seeds).map(send).buffer_unordered(AT_ONCE).try_collect().await
}

/// A good request.
pub fn good(known: &[String], random: &mut Random) -> Draft {
    let order = random.pick(known).clone();
    let line = json!({"productId": *random.pick(&["cup", "jug"]), "quantity": random.between(1, 3), "unitPrice": 250});
    let (method, path, body) = match random.below(14) {
        0..=3 => {
            let payment = json!({"token": "tok_ok"});
            (
                "POST",
                "/orders".to_owned(),
                json!({"customerId": "ann", "currency": "EUR", "lines": [line], "payment": payment}),
            )
        }
        4 => ("PUT", format!("/orders/{order}"), json!({"lines": [line]})),
        5 => ("POST", format!("/orders/{order}/cancel"), json!({"reason": "why not"})),
        6 => ("PUT", "/inventory/jug".to_owned(), json!({"onHand": random.below(9)})),
        7 => ("POST", "/inventory/cup/adjustments".to_owned(), json!({"delta": 1, "reason": "found"})),
        8 => ("POST", "/payments".to_owned(), json!({"orderId": order, "token": "tok_ok"})),
        9 => ("GET", format!("/orders?limit=3&status=confirmed&cursor={}", cursor(random)), Value::Null),
        10 => ("GET", format!("/orders/{order}/events?limit=2&cursor={}", cursor(random)), Value::Null),
        11 => ("GET", format!("/inventory?limit=2&cursor={}", cursor(random)), Value::Null),
        12 => ("GET", format!("/notifications?orderId={order}&cursor={}", cursor(random)), Value::Null),
        _ => ("GET", format!("/payments?orderId={order}"), Value::Null),
    };
    let mut headers = vec![("content-type".to_owned(), b"application/json".to_vec())];
    if method == "PUT" {
        headers.push(("if-match".to_owned(), b"*".to_vec()));
    }
    if random.chance(300) {
        headers.push(("idempotency-key".to_owned(), format!("key-{}", random.below(50)).into_bytes()));
    }
    let body = if body == Value::Null { Vec::new() } else { body.to_string().into_bytes() };
    Draft { method: method.to_owned(), path, headers, body }
}

/// What looks like a cursor.
fn cursor(random: &mut Random) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=%.";
    (0..random.below(40)).map(|_| char::from(*random.pick(LETTERS))).filter(|c| *c != '%').collect()
}

/// A good request with one to three things changed.
fn spoilt(known: &[String], random: &mut Random) -> Draft {
    let mut draft = good(known, random);
    for _ in 0..random.between(1, 3) {
        match random.below(10) {
            0..=3 => draft.body = spoil(std::mem::take(&mut draft.body), random),
            4 => draft.body = replaced(random),
            5 => draft.body = retyped(&draft.body, random),
            6 => {
                draft.method =
                    random.pick(&["BREW", "DELETE", "PATCH", "OPTIONS", "HEAD", "post", "TRACE", "X"]).to_string();
            }
            7 => draft.path = other_path(&draft.path, random),
            _ => other_header(&mut draft, random),
        }
    }
    draft
}

/// Bytes changed, lost, added or repeated.
pub fn spoil(mut bytes: Vec<u8>, random: &mut Random) -> Vec<u8> {
    for _ in 0..random.between(1, 4) {
        if bytes.is_empty() {
            bytes.push(b'{');
        }
        let place = random.index(bytes.len());
        match random.below(6) {
            0 => bytes[place] ^= 1 << random.below(8),
            1 => bytes.truncate(place),
            2 => bytes.insert(place, u8::try_from(random.below(256)).unwrap_or(0)),
            3 => drop(bytes.remove(place)),
            4 => bytes.extend_from_within(place..),
            _ => drop(bytes.splice(place..place, random.pick(&TOKENS).bytes())),
        }
    }
    bytes
}

/// What parsers trip over.
const TOKENS: [&str; 16] = [
    "\\u0000",
    "\\ud800",
    "\u{0}",
    "null",
    "-0",
    "1e999",
    "9223372036854775808",
    "-9223372036854775809",
    "1.5",
    "\"\"",
    "{}",
    "[]",
    "\\",
    "\u{202e}",
    "\u{feff}",
    "true",
];

/// A body that is something else altogether.
fn replaced(random: &mut Random) -> Vec<u8> {
    match random.below(60) {
        0 => vec![b' '; TOO_MANY_BYTES],
        1 => "[".repeat(DEPTH).into_bytes(),
        2 => "{\"a\":".repeat(DEPTH / 2).into_bytes(),
        3 => format!("{{\"customerId\":\"{}\"}}", "a".repeat(TOO_MANY_BYTES / 2)).into_bytes(),
        4 => {
            let line = r#"{"productId":"cup","quantity":1,"unitPrice":9223372036854775807}"#;
            let lines = vec![line; 1_001].join(",");
            format!(r#"{{"customerId":"ann","currency":"EUR","lines":[{lines}]}}"#).into_bytes()
        }
        5..=30 => (0..random.below(200)).map(|_| u8::try_from(random.below(256)).unwrap_or(0)).collect(),
        _ => random.pick(&TOKENS).as_bytes().to_vec(),
    }
}

/// The same document with one value of another kind.
fn retyped(body: &[u8], random: &mut Random) -> Vec<u8> {
    let Ok(Value::Object(mut document)) = serde_json::from_slice::<Value>(body) else { return body.to_vec() };
    let names: Vec<String> = document.keys().cloned().collect();
    if names.is_empty() {
        return body.to_vec();
    }
    let odd = [
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(1.5),
        json!(""),
        json!("a\u{0}b"),
        json!("x".repeat(600)),
        json!([]),
        json!({}),
        json!([[[]]]),
        json!("\u{202e}"),
    ];
    let name = random.pick(&names).clone();
    document.insert(if random.chance(100) { "surprise".to_owned() } else { name }, random.pick(&odd).clone());
    Value::Object(document).to_string().into_bytes()
}

fn other_path(path: &str, random: &mut Random) -> String {
    let odd = [
        "%00",
        "%ff",
        "%2e%2e/",
        "..",
        "//",
        "%",
        "%zz",
        "é",
        "?",
        "&limit=-1",
        "&limit=99999999999",
        "&x=y",
        "%0d%0a",
    ];
    let odd = *random.pick(&odd);
    match random.below(4) {
        0 => format!("{path}{odd}"),
        1 => path.replace(|c: char| c.is_ascii_digit(), odd),
        2 => format!("/{}", "a".repeat(random.index(9_000))),
        _ => format!("/v1{path}/{odd}"),
    }
}

fn other_header(draft: &mut Draft, random: &mut Random) {
    let names = [
        "content-type",
        "if-match",
        "idempotency-key",
        "traceparent",
        "accept",
        "if-none-match",
        "x-request-id",
        "accept-encoding",
        "content-encoding",
        "expect",
        "range",
        "authorization",
    ];
    let values: [Vec<u8>; 10] = [
        b"".to_vec(),
        b"\"".to_vec(),
        b"*".to_vec(),
        b"W/\"1\"".to_vec(),
        vec![0xff, 0xfe],
        b"\"-1\"".to_vec(),
        b"00-00000000000000000000000000000000-0000000000000000-00".to_vec(),
        vec![b'a'; 300],
        b"\"1\", , \"2\"".to_vec(),
        b"text/html;q=x, application/\"".to_vec(),
    ];
    draft.headers.push(((*random.pick(&names)).to_owned(), random.pick(&values).clone()));
}

/// The request as the client makes it; nothing when not even that is possible.
fn call(client: &Client, draft: &Draft) -> Option<Call> {
    let method = Method::from_bytes(draft.method.as_bytes()).ok()?;
    format!("{}{}", client.base(), draft.path).parse::<hyper::Uri>().ok()?;
    let mut call = client.call(method, &draft.path).body(draft.body.clone());
    for (name, value) in &draft.headers {
        // The client waits for a 100 that a server may leave out.
        if name != "expect" {
            call = call.header(name, std::str::from_utf8(value).ok()?);
        }
    }
    Some(call)
}
