//! The built-in sample program of `demo`: a little order desk with a bug. It dies, on purpose, by reading a field of a
//! customer that was never found.
//!
//! *Trap*: the functions must stay real functions with real frames, so none may be inlined, and each uses its callee's
//! result so that no call becomes a jump.

use std::hint::black_box;

/// A customer of the order desk.
#[repr(C)]
struct Customer {
    id: u64,
    orders: u64,
    name_length: u64,
    credit: u64,
}

/// Serves orders until one of them is its death.
pub fn serve() -> u8 {
    let (ready, waits) = std::sync::mpsc::channel::<()>();
    let worker = std::thread::Builder::new().name("accept".to_owned()).spawn(move || {
        let _ = ready.send(());
        loop {
            std::thread::park();
        }
    });
    black_box(&worker);
    let _ = waits.recv();
    let customers = [
        Customer { id: 17, orders: 3, name_length: 5, credit: 900 },
        Customer { id: 23, orders: 1, name_length: 8, credit: 120 },
    ];
    let mut total = 0;
    for order in [17, 23, 42] {
        println!("order for customer {order}");
        total += take_order(black_box(&customers), order);
    }
    black_box(total) as u8
}

#[inline(never)]
fn take_order(customers: &[Customer], id: u64) -> u64 {
    let credit = credit_of(find_customer(customers, id));
    let open: u64 = customers.iter().map(|customer| customer.orders + customer.name_length).sum();
    black_box(credit) + open
}

/// Gives null for a customer that is not there: the bug that the caller forgets.
#[inline(never)]
fn find_customer(customers: &[Customer], id: u64) -> *const Customer {
    customers.iter().find(|customer| customer.id == id).map_or(std::ptr::null(), |found| found)
}

#[inline(never)]
fn credit_of(customer: *const Customer) -> u64 {
    let customer = black_box(customer);
    // SAFETY: there is none, on purpose. The pointer is null for an unknown customer, and this read is what kills the
    // process; it is volatile, so the compiler may not reason it away.
    let credit = unsafe { (&raw const (*customer).credit).read_volatile() };
    black_box(credit)
}
