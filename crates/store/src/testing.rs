//! For tests: stores that do one thing in a way of their own and pass the rest on.

use std::ops::Range;

use lakebed_record::keys::Key;

use crate::{
    Body, BoxFuture, Created, Fault, Listing, Meta, Object, ReadError, Reply, Store, StoreKind, Swapped, Version,
};

/// A [`Store`] by way of another one: what is not written passes through. Name it by its path where it is implemented, since its
/// methods have the names of the store's.
pub trait PassThrough: Send + Sync + 'static {
    fn inner(&self) -> &dyn Store;

    fn create<'a>(&'a self, key: &'a Key, body: &'a Body) -> BoxFuture<'a, Reply<Created>> {
        self.inner().create(key, body)
    }

    fn get<'a>(&'a self, key: &'a Key, range: Option<Range<u64>>) -> BoxFuture<'a, Reply<Result<Object, ReadError>>> {
        self.inner().get(key, range)
    }

    fn head<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Reply<Result<Meta, ReadError>>> {
        self.inner().head(key)
    }

    fn swap<'a>(
        &'a self,
        key: &'a Key,
        expected: Option<&'a Version>,
        body: &'a Body,
    ) -> BoxFuture<'a, Reply<Swapped>> {
        self.inner().swap(key, expected, body)
    }

    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Reply<Result<(), Fault>>> {
        self.inner().delete(key)
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a Key>) -> BoxFuture<'a, Reply<Result<Listing, Fault>>> {
        self.inner().list(prefix, after)
    }

    fn kind(&self) -> StoreKind {
        self.inner().kind()
    }

    fn refuses_short_bodies(&self) -> bool {
        self.inner().refuses_short_bodies()
    }
}

#[deny(clippy::missing_trait_methods)]
impl<T: PassThrough> Store for T {
    fn create<'a>(&'a self, key: &'a Key, body: &'a Body) -> BoxFuture<'a, Reply<Created>> {
        PassThrough::create(self, key, body)
    }

    fn get<'a>(&'a self, key: &'a Key, range: Option<Range<u64>>) -> BoxFuture<'a, Reply<Result<Object, ReadError>>> {
        PassThrough::get(self, key, range)
    }

    fn head<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Reply<Result<Meta, ReadError>>> {
        PassThrough::head(self, key)
    }

    fn swap<'a>(
        &'a self,
        key: &'a Key,
        expected: Option<&'a Version>,
        body: &'a Body,
    ) -> BoxFuture<'a, Reply<Swapped>> {
        PassThrough::swap(self, key, expected, body)
    }

    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Reply<Result<(), Fault>>> {
        PassThrough::delete(self, key)
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a Key>) -> BoxFuture<'a, Reply<Result<Listing, Fault>>> {
        PassThrough::list(self, prefix, after)
    }

    fn kind(&self) -> StoreKind {
        PassThrough::kind(self)
    }

    fn refuses_short_bodies(&self) -> bool {
        PassThrough::refuses_short_bodies(self)
    }
}
