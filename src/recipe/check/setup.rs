//! Typed steps of an image.

use std::collections::BTreeSet;

use super::{Check, Place, text};
use crate::recipe::{Initrd, SetupStep, SystemdUnitStep, UserStep, path};

pub(super) fn check(check: &mut Check<'_>, place: &Place<'_>, initrd: &Initrd) {
    let mut numbers = BTreeSet::new();
    for (index, step) in initrd.setup.iter().enumerate() {
        let place = place.item(index);
        match step {
            SetupStep::User(step) => {
                let place = place.key("user");
                user(check, &place, step);
                if !numbers.insert(step.uid) {
                    let what = format!("the number {} is given to two accounts", step.uid);
                    check.fail(&place.key("uid"), what, "");
                }
            }
            SetupStep::Group(step) => {
                let place = place.key("group");
                check.holds(&place.key("name"), text::account(&step.name));
                check.texts(&place.key("members"), &step.members, text::account);
            }
            SetupStep::Alternative(step) => {
                let place = place.key("alternative");
                if let Some(name) = &step.name {
                    check.holds(&place.key("name"), text::name(name));
                }
                check.holds(&place.key("at"), path::in_image(&step.at));
                check.holds(&place.key("to"), path::in_image(&step.to));
            }
            SetupStep::SystemdUnit(step) => unit(check, &place.key("systemd-unit"), step),
            SetupStep::Modules(step) => {
                let keep = place.key("modules").key("keep");
                check.texts(&keep, &step.keep, text::name);
            }
            SetupStep::CaBundle | SetupStep::LdCache => {}
        }
    }
}

fn user(check: &mut Check<'_>, place: &Place<'_>, step: &UserStep) {
    check.holds(&place.key("name"), text::account(&step.name));
    for (key, stated) in [("home", &step.home), ("shell", &step.shell)] {
        if let Some(stated) = stated.as_deref().filter(|stated| *stated != "/") {
            check.holds(&place.key(key), path::in_image(stated));
            if stated.contains([':', '\n']) {
                check.fail(&place.key(key), format!("{stated:?} has a `:` or a line end"), "");
            }
        }
    }
}

fn unit(check: &mut Check<'_>, place: &Place<'_>, step: &SystemdUnitStep) {
    for (key, stated) in [("enable", &step.enable), ("mask", &step.mask)] {
        if let Some(name) = stated {
            check.holds(&place.key(key), text::unit(name));
        }
    }
    if step.enable.is_some() == step.mask.is_some() {
        check.fail(place, "a unit is either enabled or masked", "write one of the two");
    }
}
