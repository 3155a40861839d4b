// Verifies an audit trail with golang.org/x/mod: notes by sumdb/note, tiles and proofs by sumdb/tlog. Nothing of the
// signer is in it.
//
//	audit trail DIR VKEY                    every entry of every bundle, up to the checkpoint in DIR
//	audit consistency OLD ANSWER.json VKEY  that the checkpoint in an answer of GET /audit/checkpoint?from=N goes on from
//	                                        the checkpoint in OLD
package main

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const width = 256

func main() {
	var said string
	var err error
	switch {
	case len(os.Args) == 4 && os.Args[1] == "trail":
		said, err = trail(os.Args[2], os.Args[3])
	case len(os.Args) == 5 && os.Args[1] == "consistency":
		said, err = consistency(os.Args[2], os.Args[3], os.Args[4])
	default:
		err = fmt.Errorf("usage: audit trail DIR VKEY | audit consistency OLD ANSWER.json VKEY")
	}
	if err != nil {
		fmt.Println("NOT VERIFIED:", err)
		os.Exit(1)
	}
	fmt.Println("VERIFIED:", said)
}

func trail(dir, vkey string) (string, error) {
	signed, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		return "", err
	}
	tree, err := open(signed, vkey)
	if err != nil {
		return "", err
	}
	// Every hash that it hands out has been followed up to the root.
	hashes := tlog.TileHashReader(tree, tiles(dir))
	for first := int64(0); first < tree.N; first += width {
		count := min(width, tree.N-first)
		entries, err := bundle(dir, first/width, count)
		if err != nil {
			return "", err
		}
		indexes := make([]int64, count)
		for i := range indexes {
			indexes[i] = tlog.StoredHashIndex(0, first+int64(i))
		}
		known, err := hashes.ReadHashes(indexes)
		if err != nil {
			return "", fmt.Errorf("bundle %d: %w", first/width, err)
		}
		for i, entry := range entries {
			if tlog.RecordHash(entry) != known[i] {
				return "", fmt.Errorf("record %d is not the one in the tree", first+int64(i))
			}
		}
	}
	return fmt.Sprintf("%d records", tree.N), nil
}

func consistency(old, answer, vkey string) (string, error) {
	signed, err := os.ReadFile(old)
	if err != nil {
		return "", err
	}
	before, err := open(signed, vkey)
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(answer)
	if err != nil {
		return "", err
	}
	var said struct {
		Checkpoint  string
		Consistency struct {
			From  int64
			Proof []tlog.Hash
		}
	}
	if err := json.Unmarshal(text, &said); err != nil {
		return "", err
	}
	after, err := open([]byte(said.Checkpoint), vkey)
	if err != nil {
		return "", err
	}
	if said.Consistency.From != before.N {
		return "", fmt.Errorf("the proof is from %d, the checkpoint over %d", said.Consistency.From, before.N)
	}
	if err := tlog.CheckTree(said.Consistency.Proof, after.N, after.Hash, before.N, before.Hash); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d records go on from %d", after.N, before.N), nil
}

// open verifies a checkpoint (C2SP tlog-checkpoint) and takes it apart.
func open(signed []byte, vkey string) (tree tlog.Tree, err error) {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return tree, err
	}
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return tree, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		return tree, fmt.Errorf("not a checkpoint of %s", verifier.Name())
	}
	if tree.N, err = strconv.ParseInt(lines[1], 10, 64); err != nil {
		return tree, err
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || copy(tree.Hash[:], root) != len(tree.Hash) {
		return tree, fmt.Errorf("not a root hash: %s", lines[2])
	}
	return tree, nil
}

// bundle reads the entries of a bundle (C2SP tlog-tiles, "Log entries").
func bundle(dir string, n, count int64) ([][]byte, error) {
	path := tlog.Tile{H: 8, L: 0, N: n, W: int(count)}.Path()
	rest, err := os.ReadFile(filepath.Join(dir, strings.Replace(path, "tile/8/0/", "tile/entries/", 1)))
	if err != nil {
		return nil, err
	}
	var entries [][]byte
	for len(rest) > 0 {
		if len(rest) < 2 || len(rest) < 2+int(binary.BigEndian.Uint16(rest)) {
			return nil, fmt.Errorf("bundle %d ends within an entry", n)
		}
		end := 2 + int(binary.BigEndian.Uint16(rest))
		entries = append(entries, rest[2:end])
		rest = rest[end:]
	}
	if int64(len(entries)) != count {
		return nil, fmt.Errorf("bundle %d has %d entries, not %d", n, len(entries), count)
	}
	return entries, nil
}

// tiles reads tiles from a directory.
type tiles string

func (tiles) Height() int { return 8 }

func (dir tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var data [][]byte
	for _, tile := range wanted {
		// C2SP leaves the height out of the path.
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		bytes, err := os.ReadFile(filepath.Join(string(dir), path))
		if err != nil {
			return nil, err
		}
		data = append(data, bytes)
	}
	return data, nil
}

func (tiles) SaveTiles([]tlog.Tile, [][]byte) {}
