package main

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
)

// account is the one user. Like Grafana's it takes the password of the settings only while its
// database is empty.
type account struct {
	path string
	mu   sync.Mutex
	kept keptAccount
}

type keptAccount struct {
	User string `json:"user"`
	Salt []byte `json:"salt"`
	Hash []byte `json:"hash"`
}

var errWrongPassword = errors.New("invalid password")

func openAccount(path, user, password string) (*account, error) {
	opened := &account{path: path}
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return opened, opened.set(user, password)
	case err != nil:
		return nil, fmt.Errorf("the database: %w", err)
	}
	if err := json.Unmarshal(text, &opened.kept); err != nil {
		return nil, fmt.Errorf("the database %s: %w", path, err)
	}
	return opened, nil
}

func (a *account) allows(user, password string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	hash, err := derive(password, a.kept.Salt)
	return err == nil && user == a.kept.User && subtle.ConstantTimeCompare(hash, a.kept.Hash) == 1
}

// change replaces the password for somebody who knows the old one.
func (a *account) change(old, replacement string) error {
	a.mu.Lock()
	user := a.kept.User
	a.mu.Unlock()
	if !a.allows(user, old) {
		return errWrongPassword
	}
	return a.set(user, replacement)
}

func (a *account) set(user, password string) error {
	salt := make([]byte, 16)
	if _, err := rand.Read(salt); err != nil {
		return err
	}
	hash, err := derive(password, salt)
	if err != nil {
		return err
	}
	kept := keptAccount{User: user, Salt: salt, Hash: hash}
	text, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	// Written beside and renamed, so that a crash leaves the old or the new one.
	if err := os.WriteFile(a.path+".new", text, 0o600); err != nil {
		return fmt.Errorf("the database: %w", err)
	}
	if err := os.Rename(a.path+".new", a.path); err != nil {
		return fmt.Errorf("the database: %w", err)
	}
	a.mu.Lock()
	a.kept = kept
	a.mu.Unlock()
	return nil
}

// derive costs little, for it is paid at every request of a test.
func derive(password string, salt []byte) ([]byte, error) {
	return pbkdf2.Key(sha256.New, password, salt, 1000, 32)
}
