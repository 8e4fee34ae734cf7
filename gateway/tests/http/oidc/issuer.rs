//! An issuer of tokens, over HTTP.

use std::process::Command;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaEncoding, RsaKeyPair,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

pub(super) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token with this header and these claims.
pub(super) fn token(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", base64url(header.to_string()), base64url(claims.to_string()));
    let signature = sign(message.as_bytes());
    format!("{message}.{}", base64url(signature))
}

enum Pair {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Rsa(Box<RsaKeyPair>, &'static dyn RsaEncoding),
}

/// A key of the issuer.
pub(super) struct SigningKey {
    id: String,
    pub(super) algorithm: &'static str,
    pair: Pair,
}

impl SigningKey {
    pub(super) fn es256(id: &str) -> Self {
        Self::of_curve(id, "ES256", &ECDSA_P256_SHA256_FIXED_SIGNING)
    }

    fn of_curve(id: &str, algorithm: &'static str, curve: &'static EcdsaSigningAlgorithm) -> Self {
        let random = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(curve, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(curve, made.as_ref(), &random).expect("a key");
        Self { id: id.to_owned(), algorithm, pair: Pair::Ec(pair) }
    }

    fn rsa(id: &str, algorithm: &'static str, encoding: &'static dyn RsaEncoding) -> Self {
        let words = "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -outform DER";
        let made = Command::new("openssl").args(words.split(' ')).output().expect("openssl");
        // Versions of openssl write one or the other.
        let pair =
            RsaKeyPair::from_pkcs8(&made.stdout).or_else(|_| RsaKeyPair::from_der(&made.stdout));
        let pair = pair.expect("a key");
        Self { id: id.to_owned(), algorithm, pair: Pair::Rsa(Box::new(pair), encoding) }
    }

    /// Keys for different algorithms.
    pub(super) fn one_of_each() -> Vec<Self> {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        let pair = Ed25519KeyPair::from_pkcs8(made.as_ref()).expect("a key");
        vec![
            Self::es256("a"),
            Self::of_curve("b", "ES384", &ECDSA_P384_SHA384_FIXED_SIGNING),
            Self { id: "c".to_owned(), algorithm: "EdDSA", pair: Pair::Ed(pair) },
            Self::rsa("d", "RS256", &RSA_PKCS1_SHA256),
            Self::rsa("e", "PS256", &RSA_PSS_SHA256),
        ]
    }

    /// Its public half.
    pub(super) fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Ec(pair) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let curve = if x.len() == 32 { "P-256" } else { "P-384" };
                json!({"kty": "EC", "crv": curve, "x": base64url(x), "y": base64url(y)})
            }
            Pair::Ed(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key())})
            }
            Pair::Rsa(pair, _) => {
                let public = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({"kty": "RSA", "n": base64url(public.n), "e": base64url(public.e)})
            }
        };
        jwk["kid"] = json!(self.id);
        jwk["use"] = json!("sig");
        jwk
    }

    pub(super) fn signature(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ec(pair) => pair.sign(&random, message).expect("signed").as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature).expect("signed");
                signature
            }
        }
    }

    /// A token with these claims.
    pub(super) fn sign(&self, claims: &Value) -> String {
        let header = json!({"alg": self.algorithm, "kid": self.id, "typ": "at+jwt"});
        token(&header, claims, |message| self.signature(message))
    }
}

#[derive(Default)]
struct State {
    keys: Vec<Value>,
    is_down: bool,
    asked: usize,
}

/// A server that says what its keys are.
pub(super) struct Issuer {
    pub(super) url: String,
    state: Arc<Mutex<State>>,
}

impl Issuer {
    pub(super) async fn start(keys: Vec<Value>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/realm", listener.local_addr().expect("an address"));
        let state = Arc::new(Mutex::new(State { keys, ..State::default() }));
        let (of_server, own) = (Arc::clone(&state), url.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, own.clone(), Arc::clone(&of_server)));
            }
        });
        Self { url, state }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }

    /// How often its keys were given out.
    pub(super) fn asked(&self) -> usize {
        self.state().asked
    }

    pub(super) fn rotate(&self, keys: Vec<Value>) {
        self.state().keys = keys;
    }

    pub(super) fn set_down(&self, is_down: bool) {
        self.state().is_down = is_down;
    }
}

async fn answer(mut stream: TcpStream, url: String, state: Arc<Mutex<State>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let body = {
        let mut state = state.lock().expect("not poisoned");
        match head.split(' ').nth(1) {
            // The connection closes without an answer.
            _ if state.is_down => return,
            Some("/realm/.well-known/openid-configuration") => {
                json!({"issuer": url, "jwks_uri": format!("{url}/keys")})
            }
            Some("/realm/keys") => {
                state.asked += 1;
                json!({"keys": state.keys})
            }
            _ => return,
        }
    };
    let body = body.to_string();
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    // A client that has left does not matter.
    let _ = stream.write_all(answer.as_bytes()).await;
}
