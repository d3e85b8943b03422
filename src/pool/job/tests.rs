use hmac::{
    block_api::HmacCore,
    digest::block_api::{Buffer, EagerHash},
};
use sha2::Sha256;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::{
    error::{JobIdError, UpstreamIdError},
    ids::JobIds,
    key::Key,
};
use crate::{
    credential::{Account, Credential},
    pool::Pool,
};

fn account(id: &str) -> Account {
    Account::new(id, Credential::bearer(format!("tok-{id}")).unwrap())
}

#[test]
fn keys_are_wiped_with_their_last_clone() {
    fn wiped<T: ZeroizeOnDrop>() {}
    // An `Hmac` holds two hashes and a buffer.
    wiped::<<Sha256 as EagerHash>::Core>();
    wiped::<Buffer<HmacCore<Sha256>>>();
    wiped::<Zeroizing<[u8; 32]>>();
}

#[test]
fn public_types_are_send_sync_and_clone() {
    fn shared<T: Clone + Send + Sync + 'static>() {}
    shared::<JobIds>();
    shared::<super::ids::Job>();
    shared::<JobIdError>();
    shared::<UpstreamIdError>();
}

#[test]
fn removed_accounts_do_not_accumulate() {
    let pool = Pool::builder().account(account("stays")).any_origin().build().unwrap();
    let key = Key::new(&Zeroizing::new([1; 32]));
    let tag_of = |id: &str| key.unseal("", &key.seal("", id, "7")).unwrap().0;
    for i in 0..500 {
        let id = format!("guest-{i}");
        pool.insert(account(&id)).unwrap();
        assert_eq!(key.account(&tag_of(&id), &pool).as_deref(), Some(&*id));
        assert!(pool.remove(&id));
        assert_eq!(key.account(&tag_of(&id), &pool), None);
        assert!(key.accounts_known() <= 2 * 2 + 64 + 2, "{}", key.accounts_known());
    }
    assert_eq!(key.account(&tag_of("stays"), &pool).as_deref(), Some("stays"));
}
