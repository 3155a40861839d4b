//! One request, changed at will before it is sent.

use openssl::pkey::{PKey, Private};
use reqwest::Method;
use serde_json::{Value, json};

use super::described;
use super::{Answer, BATCH, Draft, ORIGIN, SIGN, World, jwk, thumbprint};

type Edit = Box<dyn FnOnce(&mut Draft)>;

enum Proof {
    /// A good one.
    Good(Edit),
    /// These, as they are.
    Raw(Vec<String>),
}

/// A request that would succeed unless something is changed.
pub(crate) struct Call<'a> {
    world: &'a World,
    method: Method,
    path: String,
    query: String,
    authorization: Vec<String>,
    token: String,
    proof: Proof,
    content_type: Option<String>,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
    json: Value,
    poe: String,
    line: Option<String>,
    host: String,
    framing: Option<String>,
}

impl<'a> Call<'a> {
    /// `POST /sign/dsse`
    pub(crate) fn sign(world: &'a World) -> Self {
        let mut call = Self::new(world, Method::POST, SIGN);
        call.poe = world.mint.poe(|_| ());
        call.json = json!({
            "subject": [{ "name": "app", "digest": { "sha256": "ab".repeat(32) } }],
            "predicateType": "https://stella.ops/report/v1",
            "predicate": { "finding": "predicate-canary-51" },
            "scannerImageDigest": world.mint.scanner,
            "poe": { "format": "jwt", "value": call.poe },
        });
        call.content_type = Some("application/json".to_owned());
        call
    }

    /// `POST /sign/dsse/batch` of these items.
    pub(crate) fn batch(world: &'a World, items: Vec<Value>) -> Self {
        let single = Self::sign(world);
        let mut call = Self::new(world, Method::POST, BATCH);
        call.json = json!({
            "items": items,
            "scannerImageDigest": single.json["scannerImageDigest"],
            "poe": single.json["poe"],
        });
        call.poe = single.poe;
        call.content_type = single.content_type;
        call
    }

    /// `GET` of this path.
    pub(crate) fn get(world: &'a World, path: &str, query: &str) -> Self {
        let mut call = Self::new(world, Method::GET, path);
        call.query = query.to_owned();
        call
    }

    pub(crate) fn new(world: &'a World, method: Method, path: &str) -> Self {
        let token = world.mint.token(|_| ());
        Self {
            world,
            method,
            path: path.to_owned(),
            query: String::new(),
            authorization: vec![format!("DPoP {token}")],
            token,
            proof: Proof::Good(Box::new(|_| ())),
            content_type: None,
            fields: Vec::new(),
            body: Vec::new(),
            json: Value::Null,
            poe: String::new(),
            line: None,
            host: format!("host: {}\r\n", ORIGIN.trim_start_matches("https://")),
            framing: None,
        }
    }

    /// Where the request comes to.
    pub(crate) fn world(&self) -> &'a World {
        self.world
    }

    /// The token as it stands.
    pub(crate) fn sent_token(&self) -> &str {
        &self.token
    }

    /// Another token.
    pub(crate) fn token(self, edit: impl FnOnce(&mut Draft)) -> Self {
        let token = self.world.mint.token(edit);
        self.raw_token(token)
    }

    /// Exactly this token.
    pub(crate) fn raw_token(mut self, token: String) -> Self {
        self.authorization = vec![format!("DPoP {token}")];
        self.token = token;
        self
    }

    /// Exactly these `Authorization` fields; the proof is for the token as before.
    pub(crate) fn authorization(mut self, fields: &[String]) -> Self {
        self.authorization = fields.to_vec();
        self
    }

    /// The same token with another scheme.
    pub(crate) fn scheme(mut self, scheme: &str) -> Self {
        self.authorization = vec![format!("{scheme} {}", self.token)];
        self
    }

    /// No credentials at all.
    pub(crate) fn anonymous(mut self) -> Self {
        self.authorization.clear();
        self.proofs(&[])
    }

    /// Another proof; edits add up.
    pub(crate) fn proof(mut self, edit: impl FnOnce(&mut Draft) + 'static) -> Self {
        self.proof = match self.proof {
            Proof::Good(before) => Proof::Good(Box::new(|draft| {
                before(draft);
                edit(draft);
            })),
            Proof::Raw(_) => Proof::Good(Box::new(edit)),
        };
        self
    }

    /// Everything as before, but the token is bound to this key and the proof is made with it.
    pub(crate) fn by(self, key: &PKey<Private>) -> Self {
        let jkt = thumbprint(key);
        let key = key.clone();
        self.token(|token| token.claims["cnf"]["jkt"] = json!(jkt))
            .proof(move |proof| {
                proof.header["jwk"] = jwk(&key);
                proof.by(&key);
            })
    }

    /// Exactly these `DPoP` fields.
    pub(crate) fn proofs(mut self, fields: &[String]) -> Self {
        self.proof = Proof::Raw(fields.to_vec());
        self
    }

    /// Another proof of entitlement.
    pub(crate) fn poe(mut self, edit: impl FnOnce(&mut Draft)) -> Self {
        self.poe = self.world.mint.poe(edit);
        self.json["poe"]["value"] = json!(self.poe);
        self
    }

    /// Of another tenant, with these limits of its plan.
    pub(crate) fn tenant(self, tenant: &str, limits: [u64; 4]) -> Self {
        let [qps, burst, concurrency, bytes] = limits;
        let limits = json!({
            "qps": qps, "burst": burst, "concurrency": concurrency, "maxArtifactBytes": bytes,
        });
        let token = self.world.mint.token(|token| token.claim("tid", tenant));
        self.raw_token(token).poe(|poe| {
            poe.claim("tid", tenant);
            poe.claim("limits", limits);
        })
    }

    /// Another body.
    pub(crate) fn json(mut self, edit: impl FnOnce(&mut Value)) -> Self {
        edit(&mut self.json);
        self
    }

    /// One member of `options`.
    pub(crate) fn option(self, name: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        self.json(|body| body["options"][name] = value)
    }

    /// These bytes as the body.
    pub(crate) fn bytes(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.json = Value::Null;
        self
    }

    pub(crate) fn content_type(mut self, value: Option<&str>) -> Self {
        self.content_type = value.map(str::to_owned);
        self
    }

    /// One more field.
    pub(crate) fn field(mut self, name: &str, value: impl Into<String>) -> Self {
        self.fields.push((name.to_owned(), value.into()));
        self
    }

    /// Exactly this request line; the proof is for method and path as before. For [`Self::on_the_wire`].
    pub(crate) fn line(mut self, line: impl Into<String>) -> Self {
        self.line = Some(line.into());
        self
    }

    /// `POST` to this target instead; the proof is for method and path as before. For [`Self::on_the_wire`].
    pub(crate) fn target(self, target: &str) -> Self {
        self.line(format!("POST {target} HTTP/1.1"))
    }

    /// Exactly these lines in place of `Host`, each with its end. For [`Self::on_the_wire`].
    pub(crate) fn host(mut self, lines: &str) -> Self {
        self.host = lines.to_owned();
        self
    }

    /// Exactly these lines in place of `Content-Length`, each with its end. For [`Self::on_the_wire`].
    pub(crate) fn framing(mut self, lines: &str) -> Self {
        self.framing = Some(lines.to_owned());
        self
    }

    /// HTTP/1.1 as text, and what is secret in it.
    pub(crate) fn on_the_wire(self) -> (Vec<u8>, Vec<String>) {
        let query = if self.query.is_empty() {
            String::new()
        } else {
            format!("?{}", self.query)
        };
        let line = self.line.clone();
        let line = line.unwrap_or_else(|| format!("{} {}{query} HTTP/1.1", self.method, self.path));
        let (host, framing) = (self.host.clone(), self.framing.clone());
        let (fields, body, secrets) = self.into_parts();
        let mut wire = format!("{line}\r\n{host}");
        for (name, value) in fields {
            wire.push_str(&format!("{name}: {value}\r\n"));
        }
        wire.push_str(&framing.unwrap_or_else(|| format!("content-length: {}\r\n", body.len())));
        wire.push_str("\r\n");
        let mut wire = wire.into_bytes();
        wire.extend(body);
        (wire, secrets)
    }

    /// The body as it will be sent.
    pub(crate) fn sent_body(&self) -> Vec<u8> {
        match &self.json {
            Value::Null => self.body.clone(),
            json => json.to_string().into_bytes(),
        }
    }

    /// Fields and body, for those who write to the socket themselves.
    pub(crate) fn into_parts(mut self) -> (Vec<(String, String)>, Vec<u8>, Vec<String>) {
        let body = self.sent_body();
        let proof = std::mem::replace(&mut self.proof, Proof::Raw(Vec::new()));
        let proofs = match proof {
            Proof::Raw(fields) => fields,
            Proof::Good(edit) => {
                let mint = &self.world.mint;
                vec![mint.proof(self.method.as_str(), &self.path, &self.token, edit)]
            }
        };
        let mut secrets = vec!["predicate-canary-51".to_owned()];
        for secret in self.authorization.iter().chain(&proofs).chain([&self.poe]) {
            // The signature and the claims, each alone.
            let parts = secret.split('.').skip(1).filter(|part| part.len() > 20);
            secrets.extend(parts.map(str::to_owned));
        }
        let mut fields = Vec::new();
        let mut field = |name: &str, value: &String| fields.push((name.to_owned(), value.clone()));
        self.authorization
            .iter()
            .for_each(|value| field("authorization", value));
        proofs.iter().for_each(|value| field("dpop", value));
        self.content_type
            .iter()
            .for_each(|value| field("content-type", value));
        fields.extend(self.fields);
        (fields, body, secrets)
    }

    /// Sends it to the service at this address.
    pub(crate) async fn try_send(self, base: &str) -> reqwest::Result<Answer> {
        let http = self.world.http.clone();
        self.try_send_by(&http, base).await
    }

    /// The same with a client of one's own.
    pub(crate) async fn try_send_by(self, http: &reqwest::Client, base: &str) -> reqwest::Result<Answer> {
        let query = if self.query.is_empty() {
            String::new()
        } else {
            format!("?{}", self.query)
        };
        let url = format!("{base}{}{query}", self.path);
        let mut request = http.request(self.method.clone(), url);
        let (method, path) = (self.method.clone(), self.path.clone());
        let (fields, body, secrets) = self.into_parts();
        for (name, value) in fields {
            request = request.header(name, value);
        }
        if !body.is_empty() {
            request = request.body(body.clone());
        }
        let answer = Answer::of(request.send().await?, secrets).await;
        described::check(&method, &path, &body, &answer);
        Ok(answer)
    }

    /// Sends it to the world's service.
    pub(crate) async fn send(self) -> Answer {
        let base = self.world.base.get().expect("a running service").clone();
        self.try_send(&base).await.unwrap()
    }
}
