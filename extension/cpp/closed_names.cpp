//! Resolves the names in a definition once, at its origin, so that they mean the same on every node; refuses names that
//! refer to another database, a temporary object or something that this process alone has. The reverse takes the
//! catalog's name away again.

#include "closed_names.hpp"

#include "shared_extensions.hpp"
#include "duckdb/catalog/catalog_entry/schema_catalog_entry.hpp"
#include "duckdb/common/enums/on_entry_not_found.hpp"
#include "duckdb/function/replacement_scan.hpp"
#include "duckdb/function/scalar_macro_function.hpp"
#include "duckdb/function/table_macro_function.hpp"
#include "duckdb/parser/constraints/check_constraint.hpp"
#include "duckdb/parser/expression/cast_expression.hpp"
#include "duckdb/parser/expression/constant_expression.hpp"
#include "duckdb/parser/expression/function_expression.hpp"
#include "duckdb/parser/expression/subquery_expression.hpp"
#include "duckdb/parser/expression/type_expression.hpp"
#include "duckdb/parser/expression/window_expression.hpp"
#include "duckdb/parser/parsed_data/create_index_info.hpp"
#include "duckdb/parser/parsed_data/create_macro_info.hpp"
#include "duckdb/parser/parsed_data/create_table_info.hpp"
#include "duckdb/parser/parsed_expression_iterator.hpp"
#include "duckdb/parser/parser.hpp"
#include "duckdb/parser/query_node/insert_query_node.hpp"
#include "duckdb/parser/query_node/recursive_cte_node.hpp"
#include "duckdb/parser/query_node/set_operation_node.hpp"
#include "duckdb/parser/statement/select_statement.hpp"
#include "duckdb/parser/tableref/basetableref.hpp"
#include "duckdb/parser/tableref/subqueryref.hpp"
#include "duckdb/parser/tableref/table_function_ref.hpp"
#include "duckdb/planner/binder.hpp"

using namespace duckdb;

namespace quack {

//! Expressions, queries and tables within one another. More are refused: each node reads, copies and writes a definition
//! by recursion. DuckDB's own limit for expressions is 1,000 unless a session raises it (`max_expression_depth`).
constexpr idx_t DEPTH_MAX = 2000;

void RequireNotOwn(const CatalogEntry &entry, const string &clause) {
	// What DuckDB and its extensions bring along has no commit of its own. A process adds to it in transactions, functions of
	// a name that DuckDB has, too; some of its interfaces call them internal.
	if (!entry.internal || entry.timestamp > SYSTEM_TRANSACTION_TIMESTAMP) {
		throw NotImplementedException("%s uses \"%s\", which this process has made for itself, or changed: other nodes of the "
		                              "replicated catalog do not have it. Write it as a macro of the catalog (CREATE MACRO)",
		                              clause, entry.name.GetIdentifierName());
	}
}

NameCloser::NameCloser(ClientContext &context, QuackCatalog &catalog, Reach reach, string clause)
    : context(context), catalog(catalog), reach(reach), clause(std::move(clause)), retriever(context) {
}

void NameCloser::SearchFirst(const SchemaCatalogEntry &schema) {
	if (schema.GetSchemaPath().size() == 1) {
		first = schema;
	}
	vector<CatalogSearchEntry> entries;
	entries.emplace_back(catalog.GetName(), schema.name);
	if (schema.name != Identifier::DefaultSchema()) {
		entries.emplace_back(catalog.GetName(), Identifier::DefaultSchema());
	}
	retriever.SetSearchPath(std::move(entries));
}

void NameCloser::Deepen() {
	if (++depth > DEPTH_MAX) {
		throw BinderException("%s is nested more than %llu levels deep, which a replicated catalog does not take", clause,
		                      DEPTH_MAX);
	}
}

optional_ptr<CatalogEntry> NameCloser::Find(CatalogType type, const QualifiedName &name) {
	EntryLookupInfo lookup(type, Binder::BindTableName(retriever, name));
	return Catalog::GetEntry(retriever, lookup, OnEntryNotFound::RETURN_NULL);
}

//! What DuckDB brings along. Its types are in every catalog.
static bool IsOfDuckDB(const CatalogEntry &entry) {
	return entry.ParentCatalog().IsSystemCatalog() || (entry.internal && entry.type == CatalogType::TYPE_ENTRY);
}

void NameCloser::Require(const CatalogEntry &entry) {
	auto &parent = entry.ParentCatalog();
	if (IsOfDuckDB(entry)) {
		RequireNotOwn(entry, clause);
		if (reach == Reach::EVALUATED && !IsPartOfDuckDB(entry.extension_name)) {
			RequireEverywhere(catalog, {entry.extension_name.GetIdentifierName()}, clause);
		}
		return;
	}
	if (&parent == &catalog) {
		return;
	}
	if (parent.IsTemporaryCatalog()) {
		throw NotImplementedException("%s uses \"%s\", which is temporary: it ends with this connection, and other nodes of the "
		                              "replicated catalog do not have it",
		                              clause, entry.name.GetIdentifierName());
	}
	throw NotImplementedException("%s uses \"%s\", which lies in the database \"%s\", which is this process's own: other nodes "
	                              "of the replicated catalog could not look into it",
	                              clause, entry.name.GetIdentifierName(), parent.GetName().GetIdentifierName());
}

QualifiedName NameCloser::FullName(CatalogEntry &entry, const QualifiedName &written) const {
	if (first && &entry.ParentSchema() == first.get() && written.Path().size() == 1) {
		return QualifiedName(entry.name);
	}
	return entry.ParentSchema().GetQualifiedName(entry.name).WithCatalog(catalog.SharedName());
}

bool NameCloser::CloseName(CatalogType type, QualifiedName &name) {
	auto entry = Find(type, name);
	if (!entry) {
		// DuckDB's binder has said what it thinks of it.
		return false;
	}
	Require(*entry);
	if (reach == Reach::CHECKED || (reach == Reach::QUALIFIED && name.Path().size() < 2)) {
		return true;
	}
	if (!IsOfDuckDB(*entry)) {
		name = FullName(*entry, name);
	} else if (reach == Reach::EVALUATED) {
		name = QualifiedName(name.Name());
	}
	return true;
}

//! The constant text that is the only argument, or the first one.
static optional_ptr<unique_ptr<ParsedExpression>> TextArgument(FunctionExpression &function) {
	auto &arguments = function.GetArgumentsMutable();
	if (arguments.empty()) {
		return nullptr;
	}
	auto &argument = arguments[0].GetExpressionMutable();
	if (argument->GetExpressionType() != ExpressionType::VALUE_CONSTANT) {
		return nullptr;
	}
	auto value = argument->Cast<ConstantExpression>().GetLiteral().ToValue();
	return !value.IsNull() && value.type().id() == LogicalTypeId::VARCHAR ? &argument : nullptr;
}

void NameCloser::CloseTable(QualifiedName &name) {
	if (name.Path().size() == 1 && with_names.count(name.Name()) > 0) {
		return;
	}
	if (!CloseName(CatalogType::TABLE_ENTRY, name)) {
		RequireNoVariable(name);
	}
}

//! What DuckDB reads in the place of a table that there is not: a file, or a variable of the process such as a DataFrame.
static unique_ptr<TableRef> ReplacementOf(ClientContext &context, const QualifiedName &name) {
	ReplacementScanInput input(name);
	for (auto &scan : context.config.replacement_scans) {
		if (auto found = scan->function(context, input, scan->data.get())) {
			return found;
		}
	}
	for (auto &scan : DBConfig::GetConfig(context).replacement_scans.Snapshot()) {
		if (auto found = scan->function(context, input, scan->data.get())) {
			return found;
		}
	}
	return nullptr;
}

void NameCloser::RequireNoVariable(const QualifiedName &name) {
	auto &context = retriever.GetContext();
	if (!context.config.use_replacement_scans) {
		return;
	}
	auto found = ReplacementOf(context, name);
	if (!found) {
		return;
	}
	if (found->type == TableReferenceType::TABLE_FUNCTION) {
		auto &function = found->Cast<TableFunctionRef>().function->Cast<FunctionExpression>();
		if (TextArgument(function)) {
			// A path: the file is there, or is not, when the view is read.
			return;
		}
	}
	throw NotImplementedException("%s uses \"%s\", which is a variable of this process: other nodes of the replicated catalog do "
	                              "not have it. Make a table of it first",
	                              clause, name.Name().GetIdentifierName());
}

static bool NamesSequence(const FunctionExpression &function) {
	auto &name = function.FunctionName();
	return name == "nextval" || name == "currval" || name == "setval";
}

void NameCloser::CloseArgument(FunctionExpression &function) {
	auto &name = function.FunctionName();
	auto is_sequence = NamesSequence(function);
	auto is_table = name == "query_table";
	auto is_query = name == "query";
	if (!is_sequence && !is_table && !is_query) {
		return;
	}
	auto argument = TextArgument(function);
	if (!argument) {
		return;
	}
	auto text = StringValue::Get((*argument)->Cast<ConstantExpression>().GetLiteral().ToValue());
	auto closed = text;
	// DuckDB takes no catalog's name away here.
	auto reach_around = reach;
	if (reach == Reach::CHECKED) {
		reach = Reach::QUALIFIED;
	}
	if (is_query) {
		Parser parser(context);
		parser.ParseQuery(text);
		for (auto &statement : parser.statements) {
			if (statement->type == StatementType::SELECT_STATEMENT) {
				auto &node = *statement->Cast<SelectStatement>().node;
				CollectWithNames(node);
				Close(node);
				closed = parser.statements.size() == 1 ? node.ToString() : text;
			}
		}
	} else {
		QualifiedName parsed;
		string error;
		if (QualifiedName::TryParse(text, parsed, error)) {
			if (is_sequence) {
				CloseName(CatalogType::SEQUENCE_ENTRY, parsed);
			} else {
				CloseTable(parsed);
			}
			closed = parsed.ToString();
		}
	}
	reach = reach_around;
	if (closed != text) {
		*argument = ConstantExpression::FromValue(Value(closed));
	}
}

void NameCloser::CloseFunction(FunctionExpression &function) {
	auto name = function.GetQualifiedName();
	if (!Find(CatalogType::SCALAR_FUNCTION_ENTRY, name) && name.Path().size() > 1) {
		// "x.lower()" is a call on a column x.
		auto called = Find(CatalogType::SCALAR_FUNCTION_ENTRY, QualifiedName(name.Name()));
		if (called) {
			Require(*called);
		}
	} else {
		CloseName(CatalogType::SCALAR_FUNCTION_ENTRY, name);
		function.SetQualifiedName(std::move(name));
	}
	CloseArgument(function);
}

void NameCloser::CloseTableFunction(FunctionExpression &function) {
	auto name = function.GetQualifiedName();
	CloseName(CatalogType::TABLE_FUNCTION_ENTRY, name);
	function.SetQualifiedName(std::move(name));
	CloseArgument(function);
}

void NameCloser::Close(ParsedExpression &expression) {
	Deepen();
	switch (expression.GetExpressionClass()) {
	case ExpressionClass::FUNCTION:
		CloseFunction(expression.Cast<FunctionExpression>());
		break;
	case ExpressionClass::WINDOW: {
		auto &window = expression.Cast<WindowExpression>();
		auto name = window.GetQualifiedName();
		CloseName(CatalogType::SCALAR_FUNCTION_ENTRY, name);
		window.SetQualifiedName(std::move(name));
		break;
	}
	case ExpressionClass::CAST:
		Close(expression.Cast<CastExpression>().TargetTypeMutable());
		break;
	case ExpressionClass::TYPE:
		CloseName(CatalogType::TYPE_ENTRY, expression.Cast<TypeExpression>().GetQualifiedNameMutable());
		break;
	case ExpressionClass::SUBQUERY:
		Close(*expression.Cast<SubqueryExpression>().SubqueryMutable()->node);
		break;
	default:
		break;
	}
	ParsedExpressionIterator::EnumerateChildren(expression, [&](ParsedExpression &child) { Close(child); });
	depth--;
}

void NameCloser::Close(QueryNode &node) {
	Deepen();
	if (depth == 1) {
		CollectWithNames(node);
	}
	if (node.type == QueryNodeType::INSERT_QUERY_NODE) {
		CloseTable(node.Cast<InsertQueryNode>().qualified_name);
	}
	ParsedExpressionIterator::EnumerateQueryNodeChildren(
	    node,
	    [&](unique_ptr<ParsedExpression> &child) {
		    if (child) {
			    Close(*child);
		    }
	    },
	    [&](TableRef &part) {
		    if (part.type == TableReferenceType::BASE_TABLE) {
			    auto name = part.Cast<BaseTableRef>().GetQualifiedName();
			    CloseTable(name);
			    part.Cast<BaseTableRef>().SetQualifiedName(std::move(name));
		    } else if (part.type == TableReferenceType::TABLE_FUNCTION) {
			    CloseTableFunction(part.Cast<TableFunctionRef>().function->Cast<FunctionExpression>());
		    }
	    });
	depth--;
}

void NameCloser::CollectWithNames(ParsedExpression &expression) {
	if (expression.GetExpressionClass() == ExpressionClass::SUBQUERY) {
		CollectWithNames(*expression.Cast<SubqueryExpression>().SubqueryMutable()->node);
	}
	ParsedExpressionIterator::EnumerateChildren(expression, [&](ParsedExpression &child) { CollectWithNames(child); });
}

void NameCloser::CollectWithNames(QueryNode &node) {
	for (auto &entry : node.cte_map.map) {
		with_names.insert(entry.first);
		if (entry.second->query_node) {
			CollectWithNames(*entry.second->query_node);
		}
	}
	if (node.type == QueryNodeType::SET_OPERATION_NODE) {
		for (auto &child : node.Cast<SetOperationNode>().children) {
			CollectWithNames(*child);
		}
	} else if (node.type == QueryNodeType::RECURSIVE_CTE_NODE) {
		with_names.insert(node.Cast<RecursiveCTENode>().ctename);
		CollectWithNames(*node.Cast<RecursiveCTENode>().left);
		CollectWithNames(*node.Cast<RecursiveCTENode>().right);
	} else if (node.type == QueryNodeType::INSERT_QUERY_NODE && node.Cast<InsertQueryNode>().select_statement) {
		CollectWithNames(*node.Cast<InsertQueryNode>().select_statement->node);
	}
	// DuckDB's walk passes over what WITH names in the queries that it finds.
	ParsedExpressionIterator::EnumerateQueryNodeChildren(
	    node,
	    [&](unique_ptr<ParsedExpression> &child) {
		    if (child) {
			    CollectWithNames(*child);
		    }
	    },
	    [&](TableRef &part) {
		    if (part.type == TableReferenceType::SUBQUERY) {
			    CollectWithNames(*part.Cast<SubqueryRef>().subquery->node);
		    }
	    });
}

static QualifiedName Opened(const QualifiedName &name, const Identifier &catalog) {
	auto path = name.Path();
	if (path.size() < 2 || path[0] != catalog) {
		return name;
	}
	path.erase(path.begin());
	return QualifiedName::FromPath(std::move(path));
}

static void OpenName(TableRef &part, const Identifier &catalog) {
	if (part.type == TableReferenceType::BASE_TABLE) {
		auto &table = part.Cast<BaseTableRef>();
		table.SetQualifiedName(Opened(table.GetQualifiedName(), catalog));
	}
}

void OpenNames(ParsedExpression &expression, const Identifier &catalog) {
	if (expression.GetExpressionClass() == ExpressionClass::FUNCTION) {
		auto &function = expression.Cast<FunctionExpression>();
		function.SetQualifiedName(Opened(function.GetQualifiedName(), catalog));
		auto argument = NamesSequence(function) ? TextArgument(function) : nullptr;
		if (argument) {
			auto text = StringValue::Get((*argument)->Cast<ConstantExpression>().GetLiteral().ToValue());
			QualifiedName name;
			string error;
			if (QualifiedName::TryParse(text, name, error)) {
				*argument = ConstantExpression::FromValue(Value(Opened(name, catalog).ToString()));
			}
		}
	} else if (expression.GetExpressionClass() == ExpressionClass::TYPE) {
		auto &name = expression.Cast<TypeExpression>().GetQualifiedNameMutable();
		name = Opened(name, catalog);
	} else if (expression.GetExpressionClass() == ExpressionClass::CAST) {
		OpenNames(expression.Cast<CastExpression>().TargetTypeMutable(), catalog);
	}
	if (expression.GetExpressionClass() == ExpressionClass::SUBQUERY) {
		// The walk below visits its expressions.
		ParsedExpressionIterator::EnumerateQueryNodeChildren(
		    *expression.Cast<SubqueryExpression>().SubqueryMutable()->node, [](unique_ptr<ParsedExpression> &) {},
		    [&](TableRef &part) { OpenName(part, catalog); });
	}
	ParsedExpressionIterator::EnumerateChildren(expression,
	                                            [&](ParsedExpression &child) { OpenNames(child, catalog); });
}

static void OpenNames(CreateTableInfo &info, const Identifier &catalog) {
	for (idx_t i = 0; i < info.columns.LogicalColumnCount(); i++) {
		auto &column = info.columns.GetColumnMutable(LogicalIndex(i));
		if (column.Generated()) {
			OpenNames(column.GeneratedExpressionMutable(), catalog);
		} else if (column.HasDefaultValue()) {
			auto expression = column.DefaultValue().Copy();
			OpenNames(*expression, catalog);
			column.SetDefaultValue(std::move(expression));
		}
	}
	for (auto &constraint : info.constraints) {
		if (constraint->type == ConstraintType::CHECK) {
			OpenNames(*constraint->Cast<CheckConstraint>().expression, catalog);
		}
	}
}

static void OpenNames(MacroFunction &macro, const Identifier &catalog) {
	for (auto &parameter : macro.default_parameters) {
		OpenNames(*parameter.second, catalog);
	}
	if (macro.type == MacroType::SCALAR_MACRO) {
		OpenNames(*macro.Cast<ScalarMacroFunction>().expression, catalog);
		return;
	}
	ParsedExpressionIterator::EnumerateQueryNodeChildren(
	    *macro.Cast<TableMacroFunction>().query_node,
	    [&](unique_ptr<ParsedExpression> &child) {
		    if (child) {
			    OpenNames(*child, catalog);
		    }
	    },
	    [&](TableRef &part) { OpenName(part, catalog); });
}

void OpenNames(CreateInfo &info, const Identifier &catalog) {
	switch (info.type) {
	case CatalogType::TABLE_ENTRY:
		return OpenNames(info.Cast<CreateTableInfo>(), catalog);
	case CatalogType::INDEX_ENTRY:
		for (auto &expression : info.Cast<CreateIndexInfo>().expressions) {
			OpenNames(*expression, catalog);
		}
		for (auto &expression : info.Cast<CreateIndexInfo>().parsed_expressions) {
			OpenNames(*expression, catalog);
		}
		return;
	case CatalogType::MACRO_ENTRY:
	case CatalogType::TABLE_MACRO_ENTRY:
		for (auto &macro : info.Cast<CreateMacroInfo>().macros) {
			OpenNames(*macro, catalog);
		}
		return;
	default:
		return;
	}
}

} // namespace quack
