//! What a source file mentions: full paths, calls of methods and of macros, each with its line.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use syn::{
    Attribute, Expr, ExprMethodCall, Item, ItemUse, Lit, Macro, Meta, UseTree,
    spanned::Spanned,
    visit::{self, Visit},
};

/// One thing that a file mentions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mention {
    /// A path, as far as it can be resolved: `tokio::time::sleep`, `crate::yaml::parse`.
    Path(Vec<String>),
    /// A method call, with the number of its arguments.
    Method(String, usize),
    /// A macro that is called by its bare name.
    Macro(String),
}

/// The sources of a crate: every module that is compiled into it, tests left out.
pub struct Sources {
    /// Modules with what they mention.
    pub modules: Vec<Module>,
    /// Files that belong to tests only.
    pub test_files: BTreeSet<PathBuf>,
}

/// One file.
pub struct Module {
    /// The file.
    pub file: PathBuf,
    /// Its path in the crate: `["plan", "drift"]`.
    pub path: Vec<String>,
    /// Line and mention.
    pub mentions: Vec<(usize, Mention)>,
}

impl Sources {
    /// Reads a crate from its root file on, following `mod`.
    pub fn of_crate(root: &Path, crates: &BTreeSet<String>) -> Self {
        let mut sources = Self { modules: Vec::new(), test_files: BTreeSet::new() };
        let folder = root.parent().expect("a root file has a folder").to_owned();
        sources.read(root, &folder, &[], crates);
        sources
    }

    fn read(&mut self, file: &Path, folder: &Path, path: &[String], crates: &BTreeSet<String>) {
        let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.modules.push(Module {
            file: file.to_owned(),
            path: path.to_owned(),
            mentions: mentions(&parsed, path, crates),
        });
        for item in &parsed.items {
            let Item::Mod(module) = item else { continue };
            if module.content.is_some() {
                continue;
            }
            let name = module.ident.to_string();
            let named = attribute_text(&module.attrs, "path").map(|path| file.with_file_name(path));
            let candidates = [folder.join(format!("{name}.rs")), folder.join(&name).join("mod.rs")];
            let found = named
                .into_iter()
                .chain(candidates)
                .find(|candidate| candidate.exists())
                .unwrap_or_else(|| panic!("mod {name} of {}", file.display()));
            if is_test(&module.attrs) {
                self.test_files.insert(found);
                let inside = folder.join(&name);
                self.test_files.extend(files_under(&inside));
                continue;
            }
            let child: Vec<String> = path.iter().cloned().chain([name.clone()]).collect();
            self.read(&found, &folder.join(&name), &child, crates);
        }
    }
}

/// Every Rust file in a folder and the folders in it.
pub fn files_under(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.expect("a folder entry").path();
        if path.is_dir() {
            files.extend(files_under(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// What one file mentions outside its tests. `module` is its own path, `crates` are the names that mean a crate.
pub fn mentions(file: &syn::File, module: &[String], crates: &BTreeSet<String>) -> Vec<(usize, Mention)> {
    let mut names = Names { module: module.to_owned(), crates, known: BTreeMap::new() };
    let mut uses = Uses { found: Vec::new() };
    uses.visit_file(file);
    for item in &file.items {
        if let Item::Mod(child) = item
            && !is_test(&child.attrs)
        {
            let name = child.ident.to_string();
            let path = ["crate".to_owned()].into_iter().chain(module.iter().cloned()).chain([name.clone()]);
            names.known.insert(name, path.collect());
        }
    }
    // `use a::b as c; use c::d;`: the names of the first are needed for the second, whatever their order.
    for _ in 0..2 {
        for (_, path, name) in &uses.found {
            let resolved = names.resolve_use(path);
            if let (Some(resolved), Some(name)) = (resolved, name) {
                names.known.insert(name.clone(), resolved);
            }
        }
    }
    let mut found: Vec<(usize, Mention)> = uses
        .found
        .iter()
        .filter_map(|(line, path, _)| Some((*line, Mention::Path(names.resolve_use(path)?))))
        .collect();
    let mut body = Body { names: &names, found: &mut found };
    body.visit_file(file);
    found.sort();
    found.dedup();
    found
}

/// Names of a file that stand for longer paths.
struct Names<'a> {
    module: Vec<String>,
    crates: &'a BTreeSet<String>,
    known: BTreeMap<String, Vec<String>>,
}

impl Names<'_> {
    /// The full path, when it leads out of the file: into the crate (`crate::…`) or into another one.
    fn resolve(&self, path: &[String]) -> Option<Vec<String>> {
        let (first, rest) = path.split_first()?;
        let mut base = match first.as_str() {
            "crate" => vec!["crate".to_owned()],
            "self" | "super" => {
                let ups = path.iter().filter(|segment| *segment == "super").count();
                let depth = self.module.len().saturating_sub(ups);
                let own = self.module[..depth].iter().cloned();
                let rest = path.iter().filter(|segment| *segment != "super" && *segment != "self").cloned();
                return Some(["crate".to_owned()].into_iter().chain(own).chain(rest).collect());
            }
            name => match self.known.get(name) {
                Some(full) => full.clone(),
                // A name alone is a variable that happens to be called like a crate.
                None if self.crates.contains(name) && !rest.is_empty() => vec![name.to_owned()],
                None => return None,
            },
        };
        base.extend(rest.iter().cloned());
        Some(base)
    }

    fn resolve_use(&self, path: &[String]) -> Option<Vec<String>> {
        match path {
            [name] if self.crates.contains(name) => Some(vec![name.clone()]),
            path => self.resolve(path),
        }
    }
}

/// Collects `use` items: line, path, and the name that it brings in.
struct Uses {
    found: Vec<(usize, Vec<String>, Option<String>)>,
}

impl Uses {
    fn tree(&mut self, tree: &UseTree, before: &[String]) {
        let with = |name: String| before.iter().cloned().chain([name]).collect::<Vec<_>>();
        match tree {
            UseTree::Path(path) => self.tree(&path.tree, &with(path.ident.to_string())),
            UseTree::Name(name) if name.ident == "self" => {
                self.found.push((line(name.ident.span()), before.to_owned(), before.last().cloned()));
            }
            UseTree::Name(name) => {
                let text = name.ident.to_string();
                self.found.push((line(name.ident.span()), with(text.clone()), Some(text)));
            }
            UseTree::Rename(rename) => {
                let path = if rename.ident == "self" { before.to_owned() } else { with(rename.ident.to_string()) };
                self.found.push((line(rename.ident.span()), path, Some(rename.rename.to_string())));
            }
            UseTree::Glob(glob) => self.found.push((line(glob.star_token.span()), before.to_owned(), None)),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(tree, before)),
        }
    }
}

impl<'ast> Visit<'ast> for Uses {
    fn visit_item(&mut self, item: &'ast Item) {
        if !item_is_test(item) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.tree(&item.tree, &[]);
    }
}

/// Collects everything else.
struct Body<'a, 'b> {
    names: &'a Names<'a>,
    found: &'b mut Vec<(usize, Mention)>,
}

impl Body<'_, '_> {
    fn path(&mut self, line: usize, path: &[String]) {
        if let Some(path) = self.names.resolve(path) {
            self.found.push((line, Mention::Path(path)));
        }
    }

    /// What a macro is given is no syntax tree yet: paths and method calls are read from its tokens.
    fn tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let is = |at: usize, wanted: char| matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == wanted);
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Ident(ident) => {
                    let line = line(ident.span());
                    let after_dot = at > 0 && is(at - 1, '.');
                    let mut path = vec![ident.to_string()];
                    while is(at + 1, ':')
                        && is(at + 2, ':')
                        && let Some(TokenTree::Ident(next)) = tokens.get(at + 3)
                    {
                        path.push(next.to_string());
                        at += 3;
                    }
                    match tokens.get(at + 1) {
                        Some(TokenTree::Group(arguments))
                            if after_dot && arguments.delimiter() == Delimiter::Parenthesis =>
                        {
                            let count = arguments_in(arguments.stream());
                            self.found.push((line, Mention::Method(path.remove(0), count)));
                        }
                        _ if after_dot => {}
                        _ if path.len() == 1 && is(at + 1, '!') => {
                            self.found.push((line, Mention::Macro(path.remove(0))));
                        }
                        _ => self.path(line, &path),
                    }
                }
                _ => {}
            }
            at += 1;
        }
    }
}

impl<'ast> Visit<'ast> for Body<'_, '_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !item_is_test(item) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, _: &'ast ItemUse) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.path(line(path.span()), &segments);
        visit::visit_path(self, path);
    }

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        self.found.push((line(call.method.span()), Mention::Method(call.method.to_string(), call.args.len())));
        visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, called: &'ast Macro) {
        if let Some(name) = called.path.get_ident() {
            self.found.push((line(name.span()), Mention::Macro(name.to_string())));
        }
        visit::visit_macro(self, called);
        self.tokens(called.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.tokens(list.tokens.clone());
        }
        visit::visit_attribute(self, attribute);
    }
}

fn arguments_in(tokens: TokenStream) -> usize {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let is_comma = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',');
    tokens.split(is_comma).filter(|argument| !argument.is_empty()).count()
}

fn line(span: Span) -> usize {
    span.start().line
}

fn item_is_test(item: &Item) -> bool {
    is_test(match item {
        Item::Const(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => return false,
    })
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let mut test = false;
        if attribute.path().is_ident("cfg") {
            // Only `test` itself: `not(test)` and `any(test, …)` are compiled into the program too.
            let _other = attribute.parse_nested_meta(|meta| {
                test |= meta.path.is_ident("test");
                Ok(())
            });
        }
        test || attribute.path().is_ident("test")
    })
}

fn attribute_text(attributes: &[Attribute], name: &str) -> Option<String> {
    attributes.iter().filter(|attribute| attribute.path().is_ident(name)).find_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) => match &pair.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    })
}
