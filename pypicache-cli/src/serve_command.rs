//! `pypicache serve`.

use pypicache_server::config::{Configuration, Overrides};
use pypicache_server::run::run;

use crate::output::report_line;
use crate::{FAILED, OK, WRONG_USE, print_error};

pub(crate) fn serve(overrides: &Overrides) -> u8 {
    let configuration = match Configuration::load(overrides) {
        Ok(configuration) => configuration,
        Err(error) => {
            print_error(&error);
            return WRONG_USE;
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            print_error(&error);
            return FAILED;
        }
    };
    let scheme = if configuration.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let ready = |address| {
        let version = env!("CARGO_PKG_VERSION");
        report_line!(
            "pypicache {version} listening on {scheme}://{address}/ (index: {scheme}://{address}/simple/)"
        );
    };
    let overrides = overrides.clone();
    let load = move || Configuration::load(&overrides);
    match runtime.block_on(run(configuration, load, ready)) {
        Ok(()) => OK,
        Err(error) => {
            print_error(&error);
            FAILED
        }
    }
}
