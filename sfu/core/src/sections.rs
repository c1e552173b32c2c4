//! What a viewer has for each of its video sections.

/// One `T` for each video section, in their order.
///
/// Nearly all viewers have one section, which is read for every packet: it lies in place.
#[derive(Clone, Debug)]
pub(crate) struct Sections<T> {
    first: Option<T>,
    others: Vec<T>,
}

impl<T> Sections<T> {
    /// That of the first section.
    pub(crate) fn first(&self) -> Option<&T> {
        self.first.as_ref()
    }

    /// That of one section, by its place from 0 on.
    #[inline]
    pub(crate) fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        match place.checked_sub(1) {
            None => self.first.as_mut(),
            Some(place) => self.others.get_mut(place),
        }
    }

    /// All of them, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(&self.others)
    }

    #[inline]
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.first.iter_mut().chain(&mut self.others)
    }
}

impl<T> FromIterator<T> for Sections<T> {
    fn from_iter<I: IntoIterator<Item = T>>(sections: I) -> Self {
        let mut sections = sections.into_iter();
        Self {
            first: sections.next(),
            others: sections.collect(),
        }
    }
}
