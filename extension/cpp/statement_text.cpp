//! Reads from the text of a statement which tables it writes and how, for the gate. It looks at words and does not parse:
//! a macro or a trigger may hide a write from it.

#include "statement_text.hpp"

#include "compat.hpp"

#include "duckdb/main/client_context.hpp"
#include "duckdb/main/client_data.hpp"
#include "duckdb/main/prepared_statement_data.hpp"

using namespace duckdb;

namespace quack {

namespace {

struct Word {
	//! In upper case; empty at the end of the text.
	string text;
	bool is_quoted = false;
	//! Whether a statement, or one inside of it, can begin with the word: not where it is a name.
	bool can_begin = false;
	//! Whether it goes on with the name that the word before it began.
	bool follows_dot = false;

	bool Is(const char *keyword) const {
		return !is_quoted && text == keyword;
	}
};

//! A SQL text from its beginning, word by word.
class Words {
public:
	explicit Words(const string &sql) : sql(sql) {
	}

	//! The next word or quoted name outside of texts and comments.
	Word Next() {
		auto follows_dot = false;
		while (at < sql.size()) {
			auto c = sql[at];
			if (c == '"') {
				next_begins = false;
				return Word {QuotedName(), true, false, follows_dot};
			}
			if (c == '\'') {
				next_begins = false;
				SkipText(false);
			} else if ((c == 'e' || c == 'E') && sql.compare(at + 1, 1, "'") == 0) {
				at++;
				SkipText(true);
			} else if (c == '$' && SkipDollarQuoted()) {
				continue;
			} else if (sql.compare(at, 2, "--") == 0) {
				SkipPast("\n");
			} else if (sql.compare(at, 2, "/*") == 0) {
				at += 2;
				SkipPast("*/");
			} else if (IsOfWord(c)) {
				auto can_begin = next_begins;
				auto word = UnquotedWord();
				next_begins = word == "EXPLAIN" || word == "ANALYZE";
				return Word {std::move(word), false, can_begin, follows_dot};
			} else {
				if (c == '(' || c == ')' || c == ';') {
					next_begins = true;
				} else if (!StringUtil::CharacterIsSpace(c)) {
					next_begins = false;
				}
				if (!StringUtil::CharacterIsSpace(c)) {
					follows_dot = c == '.';
				}
				at++;
			}
		}
		return Word();
	}

private:
	static bool IsOfWord(char c) {
		return StringUtil::CharacterIsAlphaNumeric(c) || c == '_' || (static_cast<uint8_t>(c) & 0x80) != 0;
	}
	string UnquotedWord() {
		auto begin = at;
		while (at < sql.size() && IsOfWord(sql[at])) {
			at++;
		}
		return StringUtil::Upper(sql.substr(begin, at - begin));
	}
	string QuotedName() {
		string name;
		for (at++; at < sql.size(); at++) {
			if (sql[at] == '"' && sql.compare(++at, 1, "\"") != 0) {
				break;
			}
			name += sql[at];
		}
		return StringUtil::Upper(name);
	}
	void SkipPast(const string &end) {
		auto found = sql.find(end, at);
		at = found == string::npos ? sql.size() : found + end.size();
	}
	void SkipText(bool has_escapes) {
		for (at++; at < sql.size(); at++) {
			if (has_escapes && sql[at] == '\\') {
				at++;
			} else if (sql[at] == '\'') {
				at++;
				return;
			}
		}
	}
	//! Whether such a text begins here, and not a parameter.
	bool SkipDollarQuoted() {
		auto end = at + 1;
		while (end < sql.size() && IsOfWord(sql[end])) {
			end++;
		}
		if (end >= sql.size() || sql[end] != '$' || StringUtil::CharacterIsDigit(sql[at + 1])) {
			return false;
		}
		auto quote = sql.substr(at, end + 1 - at);
		at = end + 1;
		SkipPast(quote);
		return true;
	}

	const string &sql;
	idx_t at = 0;
	bool next_begins = true;
};

//! Collects what the words of a statement say.
class Reader {
public:
	explicit Reader(const string &sql) : words(sql), word(words.Next()) {
	}

	StatementWrites Read() {
		auto explains = word.Is("EXPLAIN");
		auto analyzes = false;
		while (!word.text.empty()) {
			analyzes = analyzes || word.Is("ANALYZE");
			if (!word.can_begin || !ReadVerb()) {
				reads_others = reads_others || word.Is("FROM") || word.Is("SELECT") || word.Is("USING") || word.Is("WITH");
				auto is_on = word.Is("ON");
				word = words.Next();
				upserts = upserts || (is_on && inserts && word.Is("CONFLICT"));
			}
		}
		if (explains && !analyzes) {
			return StatementWrites();
		}
		return StatementWrites {Kind(), std::move(tables)};
	}
	//! The prepared statement that it executes; empty when it does not, or does not run.
	string executed;

private:
	//! Reads a verb that writes, with its table.
	bool ReadVerb() {
		if (word.Is("INSERT")) {
			inserts = true;
			word = words.Next();
			upserts = upserts || word.Is("OR");
		} else if (word.Is("MERGE")) {
			upserts = true;
		} else if (word.Is("UPDATE") || word.Is("DELETE") || word.Is("TRUNCATE")) {
			changes = true;
		} else if (word.Is("COPY")) {
			ReadCopy();
			return true;
		} else if (word.Is("EXECUTE")) {
			word = words.Next();
			executed = word.text;
			return true;
		} else {
			return false;
		}
		word = words.Next();
		ReadTable();
		return true;
	}
	//! A table's name, past the words between a verb and it.
	void ReadTable() {
		while (word.Is("OR") || word.Is("REPLACE") || word.Is("IGNORE") || word.Is("INTO") || word.Is("FROM") ||
		       word.Is("TABLE") || word.Is("ONLY")) {
			word = words.Next();
		}
		string name;
		do {
			name = std::move(word.text);
			word = words.Next();
		} while (word.follows_dot);
		tables.insert(std::move(name));
	}
	//! COPY writes into a table only when a FROM comes after it.
	void ReadCopy() {
		word = words.Next();
		if (word.can_begin) {
			// A query in parentheses.
			return;
		}
		string name;
		while (!word.text.empty() && !word.Is("FROM") && !word.Is("TO")) {
			if (word.follows_dot || name.empty()) {
				name = std::move(word.text);
			}
			word = words.Next();
		}
		if (word.Is("FROM")) {
			inserts = true;
			tables.insert(std::move(name));
		}
	}
	StatementKind Kind() const {
		if (upserts) {
			return StatementKind::UPSERT;
		}
		if (changes) {
			return reads_others ? StatementKind::CHANGE : StatementKind::OPTIMISTIC_CHANGE;
		}
		return inserts ? StatementKind::INSERT : StatementKind::OTHER;
	}

	Words words;
	Word word;
	set<string> tables;
	bool inserts = false;
	bool upserts = false;
	bool changes = false;
	//! Whether it reads something beside its own table, which may not be readable twice.
	bool reads_others = false;
};

} // namespace

void StatementWrites::Add(const StatementWrites &other) {
	tables.insert(other.tables.begin(), other.tables.end());
	if (other.kind == StatementKind::UPSERT || kind == StatementKind::OTHER) {
		kind = other.kind;
	}
}

bool StatementWrites::MeetAtTable(const StatementWrites &other) const {
	for (auto &table : tables) {
		if (other.tables.count(table) > 0) {
			return true;
		}
	}
	return false;
}

string NameAtGate(const string &table) {
	return StringUtil::Upper(table);
}

StatementWrites WritesOf(ClientContext &context) {
	auto sql = CurrentQuery(context);
	Words words(sql);
	auto first = words.Next();
	if (first.Is("SELECT") || first.Is("FROM")) {
		// Most statements; the rest of a long text need not be read.
		return StatementWrites();
	}
	Reader reader(sql);
	auto writes = reader.Read();
	if (!reader.executed.empty()) {
		auto &prepared = context.client_data->prepared_statements;
		auto found = prepared.find(Identifier(reader.executed));
		if (found != prepared.end() && found->second->unbound_statement) {
			// What PREPARE is given has no text of its own.
			return Reader(found->second->unbound_statement->ToString()).Read();
		}
	}
	return writes;
}

} // namespace quack
